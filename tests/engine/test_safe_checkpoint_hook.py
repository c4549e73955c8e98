import math
import os
import pickle
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import BaseModel, BaseTTAModel
from mmengine.registry import MODEL_WRAPPERS
from safetensors.torch import save_file
from small_segmentor import SmallSegmentor, make_runner
from torch import nn

from cleverdistiller.engine.hooks import SafeCheckpointHook
from cleverdistiller.errors import DiskFullError, InputError


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


@pytest.mark.parametrize('name', ['student.safetensors', 'student.pth'])
@pytest.mark.parametrize('task', ['test', 'train'])
def test_an_exported_student_is_refused_as_a_checkpoint_with_the_way_out(tmp_path, name, task):
    """docs/checkpoints.md: mmengine would load nothing of it, or not be able to open it."""
    student = {'0.weight': torch.zeros(4, 3), '0.bias': torch.zeros(4)}
    path = tmp_path / name
    save_file(student, path) if name.endswith('safetensors') else torch.save(dict(state_dict=student), path)
    runner = make_runner(tmp_path, SmallSegmentor(), dict(type='SeedHook'), load_from=str(path))
    with pytest.raises(InputError, match=name) as refused:
        runner.test() if task == 'test' else runner.train()
    assert 'model.student_weights' in str(refused.value) and len(str(refused.value)) < 700


@pytest.mark.parametrize('options', [dict(resume=True), dict(resume=False)], ids=str)
@pytest.mark.parametrize('task', ['test', 'train'])
def test_a_checkpoint_that_is_not_finite_is_refused_by_name(tmp_path, options, task):
    weights = SmallSegmentor().state_dict()
    weights['decode_head.bias'][1] = float('inf')
    torch.save(dict(state_dict=weights, meta={}), tmp_path / 'epoch_1.pth')
    load_from = str(tmp_path / 'epoch_1.pth')
    runner = make_runner(tmp_path, SmallSegmentor(), dict(type='SeedHook'), load_from=load_from, **options)
    with pytest.raises(InputError, match=r'epoch_1\.pth with 1 of 2 numbers of decode_head\.bias NaN or infinite'):
        runner.test() if task == 'test' else runner.train()


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'model.'])
@pytest.mark.parametrize('task', ['test', 'train'])
def test_a_checkpoint_with_a_prefix_is_one_short_error(tmp_path, prefix, task):
    weights = {prefix + name: value for name, value in SmallSegmentor().state_dict().items()}
    torch.save(dict(state_dict=weights, meta={}), tmp_path / 'theirs.pth')
    runner = make_runner(tmp_path, SmallSegmentor(), dict(type='SeedHook'), load_from=str(tmp_path / 'theirs.pth'))
    with pytest.raises(InputError, match=rf'theirs\.pth with the prefix \'{prefix}\'') as refused:
        runner.test() if task == 'test' else runner.train()
    assert len(str(refused.value).splitlines()) <= 5


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no device that is always full')
def test_a_full_disk_stops_training_with_one_error_and_the_checkpoints_of_before(tmp_path, monkeypatch):
    stock = SafeCheckpointHook.before_save_checkpoint

    def fill_disk(hook, runner, checkpoint):  # not before training, which removes what killed writers left
        if runner.epoch == 1:
            (tmp_path / f'.epoch_2.pth.{os.getpid()}.tmp').symlink_to('/dev/full')
        stock(hook, runner, checkpoint)

    with monkeypatch.context() as patched:
        patched.setattr(SafeCheckpointHook, 'before_save_checkpoint', fill_disk)
        with pytest.raises(DiskFullError, match=r'epoch_2\.pth'):
            train(tmp_path, epochs=3)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']
    train(tmp_path, epochs=3, resume=True)
    assert (tmp_path / 'epoch_3.pth').is_file()


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
