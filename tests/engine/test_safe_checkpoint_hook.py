import math
import pickle
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import BaseModel, BaseTTAModel
from mmengine.registry import MODEL_WRAPPERS
from small_segmentor import SmallSegmentor, make_runner
from torch import nn

from cleverdistiller.engine.hooks import SafeCheckpointHook
from cleverdistiller.errors import InputError


def runner_in(work_dir, resume=True, load_from=None):
    return SimpleNamespace(work_dir=str(work_dir), _resume=resume, _load_from=load_from)


class NeedsUnpickling:
    pass


def test_resume_skips_a_file_cut_short_and_finds_the_newest_whole_one(tmp_path):
    for epoch in (9, 10):
        torch.save(dict(epoch=torch.tensor(epoch)), tmp_path / f'epoch_{epoch}.pth')
    (tmp_path / '.epoch_11.pth.77.tmp').write_bytes(b'half')
    (tmp_path / 'last_checkpoint').write_text('')  # killed while rewriting it
    SafeCheckpointHook().before_run(runner_in(tmp_path))
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_10.pth')


def test_a_first_run_has_nothing_to_check(tmp_path):
    SafeCheckpointHook().before_run(runner_in(tmp_path))
    assert not (tmp_path / 'last_checkpoint').exists()


def test_a_checkpoint_with_foreign_objects_is_refused(tmp_path):
    torch.save(dict(state_dict=NeedsUnpickling()), tmp_path / 'theirs.pth')
    with pytest.raises(InputError, match='remedy'):
        SafeCheckpointHook().before_run(runner_in(tmp_path, load_from=str(tmp_path / 'theirs.pth')))


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(InputError, match=r'nowhere\.pth'):
        SafeCheckpointHook().before_run(runner_in(tmp_path, load_from='nowhere.pth'))


def test_one_kept_checkpoint_is_refused():
    with pytest.raises(InputError, match='at least 2'):
        SafeCheckpointHook(max_keep_ckpts=1)


@pytest.fixture
def torch_loads_weights_only(monkeypatch):
    """From torch 2.6 on, where mmengine reads a checkpoint without saying what it takes."""
    stock = torch.load

    def load(*args, weights_only=True, **kwargs):
        return stock(*args, weights_only=weights_only, **kwargs)

    monkeypatch.setattr(torch, 'load', load)


def train(work_dir, epochs, **options):
    torch.manual_seed(0)  # a resumed model takes its weights from the file, the others start alike
    runner = make_runner(work_dir, SmallSegmentor(), dict(type='SeedHook'), epochs=epochs, **options)
    runner.train()
    return runner.model.state_dict()


def test_a_run_resumes_where_torch_loads_weights_only(tmp_path, torch_loads_weights_only):
    whole = train(tmp_path / 'whole', epochs=3)
    train(tmp_path / 'cut', epochs=1)
    resumed = train(tmp_path / 'cut', epochs=3, resume=True)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


def test_what_mmengine_alone_saves_does_not(tmp_path, torch_loads_weights_only, monkeypatch):
    monkeypatch.setattr(SafeCheckpointHook, 'before_save_checkpoint', CheckpointHook.before_save_checkpoint)
    train(tmp_path, epochs=1)
    with pytest.raises(pickle.UnpicklingError, match='HistoryBuffer'):
        torch.load(tmp_path / 'epoch_1.pth')


class _Breaks(Hook):
    """Puts a NaN where a forward pass in half precision would, at the end of the third epoch."""

    priority = 'VERY_HIGH'

    def after_train_epoch(self, runner):
        if runner.epoch == 2:
            runner.model.backbone[1].running_mean[0] = math.nan


def test_a_broken_model_is_never_written_and_costs_no_good_checkpoint(tmp_path):
    runner = make_runner(tmp_path, SmallSegmentor(), _Breaks(), epochs=4)
    with pytest.raises(RuntimeError, match=r'backbone\.1\.running_mean\): epoch_3\.pth is not written'):
        runner.train()
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_1.pth', 'epoch_2.pth']
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_2.pth')


def test_a_best_checkpoint_is_never_broken_either(tmp_path):
    hook = SafeCheckpointHook(save_best='miou')
    model = SmallSegmentor()
    model.backbone[1].running_var[0] = math.inf
    with pytest.raises(RuntimeError, match='no best checkpoint is written'):
        hook.after_val_epoch(SimpleNamespace(model=model, iter=1), dict(miou=0.5))


def test_a_model_of_another_shape_is_refused_by_name_before_its_optimiser_fails(tmp_path):
    train(tmp_path, epochs=1)
    model = SmallSegmentor()
    model.decode_head = nn.Linear(4, 5)
    with pytest.raises(InputError, match=r'epoch_1\.pth(?s:.*)decode_head\.weight \(2, 4\) instead of \(5, 4\)'):
        make_runner(tmp_path, model, dict(type='SeedHook'), epochs=2, resume=True).train()


class _Views(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return data_samples_list


@pytest.mark.parametrize('views', [False, True], ids=['plain', 'test-time augmentation'])
@pytest.mark.parametrize('wrapped', [False, True], ids=['one process', 'several'])
def test_what_is_tested_must_have_been_loaded_as_a_whole(tmp_path, views, wrapped):
    whole = _Small()
    model = _Views(whole) if views else whole
    if wrapped:
        model = _Wrapper(model)
    runner = SimpleNamespace(model=model, _load_from='epoch_1.pth', _resume=False)
    hook = SafeCheckpointHook()
    hook.after_load_checkpoint(runner, dict(state_dict=whole.state_dict()))
    hook.before_test(runner)
    part = {name: value for name, value in whole.state_dict().items() if 'bias' not in name}
    hook.after_load_checkpoint(runner, dict(state_dict=part))
    with pytest.raises(InputError, match=r'epoch_1\.pth(?s:.*)backbone\.bias, head\.bias'):
        hook.before_test(runner)


class _Small(BaseModel):
    """A backbone and a head."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs


@MODEL_WRAPPERS.register_module()
class _Wrapper(nn.Module):
    """What DDP is to the runner."""

    def __init__(self, module):
        super().__init__()
        self.module = module
