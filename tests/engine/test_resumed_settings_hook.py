"""Resuming with other settings is refused where the schedule would break, and named elsewhere."""

from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.runner import BaseLoop

from cleverdistiller.engine.hooks import ResumedSettingsHook
from cleverdistiller.errors import InputError

CFG = dict(
    model=dict(type='CleverDistiller', occupancy_head=dict(weight=0.05)),
    train_dataloader=dict(batch_size=4),
    train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=50),
    optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.001)),
    param_scheduler=dict(type='OneCycle', by_epoch=False, pct_start=0.04),
    randomness=dict(seed=0),
)


class _Loop(BaseLoop):
    def __init__(self):
        pass

    def run(self):
        pass


class _Frames(list):
    def __init__(self, count, ann_file):
        super().__init__(range(count))
        self.ann_file = str(ann_file)


class _Loader:
    def __init__(self, dataset, steps):
        self.dataset, self.steps = dataset, steps

    def __len__(self):
        return self.steps


@pytest.fixture
def make_runner(tmp_path):
    (tmp_path / 'infos.pkl').write_bytes(b'frames')

    def make(gpus=4, frames=160, said=None, **options):
        cfg = Config(CFG)
        cfg.merge_from_dict(options)
        steps = frames // (gpus * cfg.train_dataloader.batch_size)
        return SimpleNamespace(
            cfg=cfg,
            world_size=gpus,
            train_dataloader=_Loader(_Frames(frames, tmp_path / 'infos.pkl'), steps),
            logger=SimpleNamespace(warning=said.append if said is not None else pytest.fail),
            _resume=True,
            _load_from='epoch_7.pth',
            _train_loop=_Loop(),
        )

    return make


def checkpoint_of(runner, **meta) -> dict:
    checkpoint = dict(meta=dict(cfg=runner.cfg.pretty_text, epoch=7, iter=7 * len(runner.train_dataloader), **meta))
    ResumedSettingsHook().before_save_checkpoint(runner, checkpoint)
    return checkpoint


def resume(runner, checkpoint):
    ResumedSettingsHook().after_load_checkpoint(runner, checkpoint)


def test_an_unchanged_run_says_nothing(make_runner):
    resume(make_runner(), checkpoint_of(make_runner()))


def test_fewer_gpus_are_refused_with_the_batch_that_keeps_the_total(make_runner):
    with pytest.raises(InputError) as refused:
        resume(make_runner(gpus=2), checkpoint_of(make_runner()))
    message = str(refused.value)
    assert 'epoch_7.pth' in message and 'GPUs was 4, is 2' in message and 'iterations an epoch was 10, is 20' in message
    assert 'on 4 GPUs, or --cfg-options train_dataloader.batch_size=8' in message and 'load_from=epoch_7' in message


def test_the_batch_that_the_refusal_names_is_let_through_and_named(make_runner):
    said = []
    resume(
        make_runner(gpus=2, said=said, **{'train_dataloader.batch_size': 8}),
        checkpoint_of(make_runner()),
    )
    [text] = said
    assert 'train_dataloader.batch_size was 4, is 8' in text and 'GPUs was 4, is 2' in text


@pytest.mark.parametrize(
    ('now', 'told'),
    [
        ({'frames': 320}, 'frames of the training set was 160, is 320'),
        ({'train_dataloader.batch_size': 5}, '--cfg-options train_dataloader.batch_size=4)'),
        ({'train_cfg.max_epochs': 100}, 'train_cfg.max_epochs was 50, is 100'),
        ({'param_scheduler.pct_start': 0.4}, '--cfg-options param_scheduler.pct_start=0.04)'),
        ({'optim_wrapper.optimizer.lr': 0.1}, 'optim_wrapper.optimizer.lr was 0.001, is 0.1'),
        ({'randomness.seed': 3}, 'randomness.seed was 0, is 3'),
    ],
)
def test_what_the_checkpoint_keeps_is_refused(make_runner, now, told):
    with pytest.raises(InputError) as refused:
        resume(make_runner(**now, **{'model.occupancy_head.weight': 1.0}), checkpoint_of(make_runner()))
    assert told in str(refused.value)
    assert str(refused.value).count('model.occupancy_head.weight was') == 1  # all changes, each once


def test_a_checkpoint_of_old_knows_its_iterations_an_epoch(make_runner):
    checkpoint = checkpoint_of(make_runner())
    del checkpoint['meta']['training_set']
    resume(make_runner(), checkpoint)
    with pytest.raises(InputError, match='iterations an epoch was 10, is 20'):
        resume(make_runner(gpus=2), checkpoint)


def test_a_schedule_with_an_end_of_its_own_may_have_more_epochs_after_it(make_runner):
    said, ends = [], {'param_scheduler.end': 500}
    resume(
        make_runner(said=said, **ends, **{'train_cfg.max_epochs': 60}),
        checkpoint_of(make_runner(**ends)),
    )
    assert len(said) == 1 and 'train_cfg.max_epochs was 50, is 60' in said[0]


def test_other_frames_of_the_same_number_are_named(make_runner, tmp_path):
    checkpoint, said = checkpoint_of(make_runner()), []
    (tmp_path / 'infos.pkl').write_bytes(b'others')
    resume(make_runner(said=said), checkpoint)
    assert len(said) == 1 and 'content of ann_file was' in said[0]


def test_a_start_from_the_weights_or_a_test_compares_nothing(make_runner):
    checkpoint, runner = checkpoint_of(make_runner()), make_runner(gpus=1)
    runner._resume = False
    resume(runner, checkpoint)
    runner._resume, runner._train_loop = True, dict(type='EpochBasedTrainLoop')
    resume(runner, checkpoint)
