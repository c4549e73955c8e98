import pytest
import torch
from small_segmentor import SmallSegmentor, make_runner
from torch import nn

from cleverdistiller.engine.hooks import FrozenBackboneHook
from cleverdistiller.ops.state_dict_hash import state_dict_hash


def layer(**changes) -> nn.Module:
    torch.manual_seed(0)
    module = nn.BatchNorm1d(3)
    for name, value in changes.items():
        setattr(module, name, value)
    return module


@pytest.mark.parametrize(
    'other',
    [
        layer(running_var=torch.tensor([1, 1, 1 + 2e-7])),  # the last bit of a buffer
        layer(num_batches_tracked=torch.tensor(1)),  # a number without axes
        layer(running_mean=torch.zeros(3, 1)),
        layer(running_mean=torch.zeros(3, dtype=torch.int32)),  # the same bytes
        layer(running_mean=torch.zeros(3, dtype=torch.bfloat16)),
        nn.Sequential(layer()),  # the same tensors under other names
    ],
)
def test_every_bit_type_shape_and_name_counts(other):
    assert state_dict_hash(other) != state_dict_hash(layer())


def test_the_order_of_names_and_the_layout_in_memory_do_not():
    first, second = nn.Module(), nn.Module()
    weight = torch.randn(4, 6)
    first.register_buffer('a', weight)
    first.register_buffer('b', torch.ones(2))
    second.register_buffer('b', torch.ones(2))
    second.register_buffer('a', weight.T.contiguous().T)
    assert state_dict_hash(first) == state_dict_hash(second)
    assert len(state_dict_hash(first)) == 64


def trained(work_dir, **options) -> tuple[bool, str]:
    """Whether training moved the backbone, and the log."""
    model = SmallSegmentor(**options)
    before = state_dict_hash(model.backbone)
    make_runner(work_dir, model, FrozenBackboneHook()).train()
    return state_dict_hash(model.backbone) != before, next(work_dir.glob('*/*.log')).read_text()


def test_linear_probing_leaves_the_backbone_alone(tmp_path):
    moved, log = trained(tmp_path, frozen=True)
    assert not moved and 'backbone unchanged, sha256' in log


def test_a_leak_stops_the_run(tmp_path):
    with pytest.raises(RuntimeError, match='frozen backbone changed'):
        trained(tmp_path, frozen=True, leaks=True)


def test_loose_practice_and_fine_tuning_may_move_it(tmp_path):
    moved, log = trained(tmp_path / 'loose', frozen=True, bn_train_in_lp=True)
    assert moved and 'as bn_train_in_lp allows' in log
    moved, log = trained(tmp_path / 'fine', frozen=False)
    assert moved and 'sha256' not in log


def test_a_resumed_run_compares_with_what_it_resumed(tmp_path):
    make_runner(tmp_path, SmallSegmentor(), FrozenBackboneHook(), epochs=1).train()
    fresh = SmallSegmentor()  # another backbone, until the checkpoint is loaded
    hook = FrozenBackboneHook()
    make_runner(tmp_path, fresh, hook, epochs=2, resume=True).train()
    assert hook.before == state_dict_hash(fresh.backbone)
