"""Passes of a loop over iterations: each its own augmentations, and the same ones in an equal or a resumed run."""

import pytest
import torch
from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.runner import Runner

from cleverdistiller.datasets.seeded_samples import SeededSamples
from cleverdistiller.errors import InputError
from conftest import REPO

FRAMES = 3


@DATASETS.register_module()
class Draws(SeededSamples, BaseDataset):
    """Frames of one random number."""

    def load_data_list(self):
        return [dict(frame=frame) for frame in range(FRAMES)]


def draw(sample):
    return dict(sample, drawn=torch.rand(()))


class Listener(BaseModel):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seen = []

    def forward(self, frame, drawn, mode, sample_idx):
        self.seen += zip(frame.tolist(), drawn.tolist())
        return dict(loss=self.weight * 0)


def train(work_dir, workers=0, seed=7, resume=False, sampler='DefaultSampler', **train_cfg):
    """What the model saw in so many iterations."""
    model = Listener()
    schedule = Config.fromfile(REPO / 'configs/_base_/schedules/pointrcnn_18560i.py')
    frames = dict(type='Draws', pipeline=[draw])
    loader = dict(batch_size=1, num_workers=workers, persistent_workers=workers > 0, sampler=dict(type=sampler))
    Runner(
        model,
        str(work_dir),
        train_dataloader=dict(dataset=frames, collate_fn=dict(type='default_collate'), **loader),
        train_cfg={'type': schedule.train_cfg.type, 'max_iters': 3 * FRAMES, **train_cfg},
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=4), logger=None),
        custom_hooks=[dict(type='SeedHook')],
        default_scope='mmdet3d',
        randomness=dict(seed=seed),
        resume=resume,
        experiment_name=f'{work_dir.name}_{id(model)}',
    ).train()
    return model.seen


@pytest.fixture(scope='module')
def seen(tmp_path_factory):
    return train(tmp_path_factory.mktemp('run'))


def test_a_frame_differs_from_pass_to_pass(seen):
    passes = [seen[start : start + FRAMES] for start in range(0, len(seen), FRAMES)]
    assert [sorted(frame for frame, _ in one) for one in passes] == [list(range(FRAMES))] * 3
    assert len({drawn for _, drawn in seen}) == 3 * FRAMES
    assert len({tuple(frame for frame, _ in one) for one in passes}) > 1  # another order, too


@pytest.mark.parametrize('workers', [0, 2])  # workers are persistent, and load ahead
def test_equal_runs_give_equal_samples(seen, tmp_path, workers):
    assert train(tmp_path, workers) == seen


def test_another_seed_gives_others(seen, tmp_path):
    assert not {drawn for _, drawn in train(tmp_path, seed=8)} & {drawn for _, drawn in seen}


def test_a_resumed_run_goes_on_in_its_pass(seen, tmp_path):
    train(tmp_path, max_iters=4)
    assert train(tmp_path, workers=1, resume=True) == seen[4:]


def test_loops_and_samplers_that_hide_their_passes_are_refused(tmp_path):
    with pytest.raises(InputError, match='IterBasedTrainLoop, which does not tell'):
        train(tmp_path, type='IterBasedTrainLoop')
    with pytest.raises(InputError, match='InfiniteSampler, for which all passes are one'):
        train(tmp_path, sampler='InfiniteSampler')
