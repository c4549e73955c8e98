"""Weights and statistics that are not finite are found by name, on every rank."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from cleverdistiller.engine import finite_state
from cleverdistiller.engine.finite_state import check_finite_state, not_finite


def runner_of(model: nn.Module):
    return SimpleNamespace(model=model, iter=8)


def test_equals_a_loop_over_all_values():
    tensors = {str(size): torch.randn(size, 3) for size in (0, 1, 4, 9)} | {'count': torch.tensor(3)}
    tensors['4'][3, 1], tensors['9'][0, 0] = math.nan, -math.inf
    slow = [
        name for name, tensor in tensors.items() if any(not math.isfinite(value) for value in tensor.flatten().tolist())
    ]
    assert not_finite(tensors) == slow == ['4', '9']
    assert not_finite({}) == []


@pytest.mark.parametrize('name', ['0.weight', '1.running_var', '1.running_mean', '1.bias'])
def test_names_the_tensor_and_what_does_not_happen(name):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    check_finite_state(runner_of(model), 'nothing is lost')
    model.state_dict()[name][0] = math.inf
    with pytest.raises(RuntimeError, match=rf'after 8 iterations 1 tensors .*\({name}\): nothing is lost'):
        check_finite_state(runner_of(model), 'nothing is lost')


def test_a_mask_that_is_infinite_by_design_passes():
    model = nn.Linear(2, 2)
    model.register_buffer('mask', torch.full((2,), -math.inf))
    check_finite_state(runner_of(model), '')


def test_another_rank_s_tensors_stop_this_one(monkeypatch):
    monkeypatch.setattr(finite_state, 'all_reduce', lambda flag, op: flag.clamp_(min=1))
    monkeypatch.setattr(finite_state, 'all_gather_object', lambda own: [own, ['theirs']])
    with pytest.raises(RuntimeError, match='theirs'):
        check_finite_state(runner_of(nn.Linear(2, 2)), '')
