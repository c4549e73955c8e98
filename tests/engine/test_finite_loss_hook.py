"""The guard names the loss, the iteration and the frames, and lets finite training alone."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmdet3d.registry import HOOKS
from mmdet3d.structures import Det3DDataSample
from mmengine.logging import MessageHub

from cleverdistiller.engine.hooks import finite_loss_hook

HOOK = dict(type='FiniteLossHook')


def runner(name: str, grad_norm: float | None = None, **wrapper):
    hub = MessageHub(f'finite_loss_{name}')
    if grad_norm is not None:
        hub.update_scalar('train/grad_norm', grad_norm)
    return SimpleNamespace(iter=41, epoch=2, message_hub=hub, optim_wrapper=SimpleNamespace(**wrapper))


def frames(*metas: dict) -> dict:
    return dict(data_samples=[Det3DDataSample(metainfo=meta) for meta in metas])


def finish_iteration(runner, data, **outputs):
    HOOKS.build(HOOK).after_train_iter(runner, 0, data, outputs)


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_a_loss_that_is_not_finite_stops_the_run_by_frame(bad):
    data = frames(dict(frame_id='000123'), dict(lidar_path='velodyne/000007.bin'))
    with pytest.raises(RuntimeError) as stopped:
        finish_iteration(runner(f'loss{bad}'), data, loss=torch.tensor(bad), loss_cls=torch.tensor(1.0))
    message = str(stopped.value)
    assert f'iteration 42 (epoch 3): loss={bad} in frames 000123, velodyne/000007.bin\n' in message
    assert 'loss_cls' not in message


def test_finite_losses_pass():
    finish_iteration(runner('finite', grad_norm=3.0), frames(dict(frame_id='0')), loss=torch.tensor(1.0), count=2.0)


def test_gradients_that_are_not_finite_stop_the_run_unless_a_scaler_drops_their_step():
    data = frames(dict(frame_id='0'))
    with pytest.raises(RuntimeError, match='grad_norm=inf'):
        finish_iteration(runner('norm', float('inf')), data, loss=torch.tensor(1.0))
    finish_iteration(runner('scaled', float('inf'), loss_scaler=None), data, loss=torch.tensor(1.0))


@pytest.mark.parametrize(
    ('mine', 'norm', 'others', 'told'),
    [
        ({}, None, {'loss': math.nan}, 'loss=nan in frames theirs'),
        ({}, math.nan, {'loss': math.nan, 'grad_norm': math.nan}, 'loss=nan, grad_norm=nan in frames theirs'),
        ({'loss': math.inf}, None, {}, 'loss=inf in frames mine'),
        ({}, math.inf, {'grad_norm': math.inf}, 'grad_norm=inf in frames mine; grad_norm=inf in frames theirs'),
        ({}, None, {}, None),
    ],
)
def test_every_rank_stops_and_names_the_frames_of_the_one_to_blame(monkeypatch, mine, norm, others, told):
    def all_reduce(flag, op):
        assert op == 'max'
        flag.clamp_(min=int(bool(others)))

    monkeypatch.setattr(finite_loss_hook, 'all_reduce', all_reduce)
    monkeypatch.setattr(finite_loss_hook, 'all_gather_object', lambda own: [own, (others, ['theirs'])])
    losses = {name: torch.tensor(value) for name, value in {'loss': 1.0, **mine}.items()}
    iteration = (runner(f'ranks{mine}{norm}{others}', norm), frames(dict(frame_id='mine')))
    if told is None:
        finish_iteration(*iteration, **losses)
        return
    with pytest.raises(RuntimeError) as stopped:
        finish_iteration(*iteration, **losses)
    assert f'(epoch 3): {told}\n' in str(stopped.value)
