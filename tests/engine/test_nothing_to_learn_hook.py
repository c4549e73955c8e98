"""A training without anything to learn from stops within its first iterations, a single empty batch does not matter."""

from types import SimpleNamespace

import pytest
import torch
from mmdet3d.structures import Det3DDataSample
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData

from cleverdistiller.engine.hooks import NothingToLearnHook, nothing_to_learn_hook
from cleverdistiller.errors import InputError
from cleverdistiller.structures import OccupancyQueries, PointPixelPairs

CAMERAS = ('CAM_FRONT', 'CAM_BACK')


class _Training:
    """An endless training with ``steps`` iterations an epoch, of a distiller unless ``batch`` says otherwise."""

    def __init__(self, steps=1000, patience=5):
        self.hook = NothingToLearnHook(patience)
        self.said = []
        self.runner = SimpleNamespace(
            iter=0,
            work_dir='work',
            cfg=SimpleNamespace(filename='configs/mine.py'),
            train_dataloader=_Loader(steps),
            logger=SimpleNamespace(warning=self.said.append),
        )

    def iterate(self, outputs, data_batch=None):
        if self.runner.iter % len(self.runner.train_dataloader) == 0:
            self.hook.before_train_epoch(self.runner)
        self.hook.after_train_iter(self.runner, 0, data_batch or {}, outputs)
        self.runner.iter += 1
        if self.runner.iter % len(self.runner.train_dataloader) == 0:
            self.hook.after_train_epoch(self.runner)


class _Loader:
    dataset = SimpleNamespace(metainfo=dict(cameras=CAMERAS))

    def __init__(self, steps):
        self.steps = steps

    def __len__(self):
        return self.steps


def counts(**values):
    return {name: torch.tensor(float(value)) for name, value in dict(loss=0, **values).items()}


def distilled(front: int, back: int, support: int = 3) -> dict:
    """A batch of two scans with so many pairs in each camera."""
    rows = torch.tensor([0] * front + [1] * back, dtype=torch.int64)
    pairs = PointPixelPairs(torch.arange(len(rows)), rows, torch.zeros(len(rows), 2))
    queries = OccupancyQueries(
        torch.zeros(1, 3),
        torch.zeros(1),
        torch.zeros(1),
        torch.zeros(support, dtype=torch.int64),
        torch.zeros(support, dtype=torch.int64),
    )
    sample = Det3DDataSample(metainfo=dict(camera_names=CAMERAS))
    return pseudo_collate([dict(inputs=dict(pairs=pairs, queries=queries), data_samples=sample)] * 2)


def detected(*labels: int) -> dict:
    sample = Det3DDataSample()
    sample.gt_instances_3d = InstanceData(labels_3d=torch.tensor(labels, dtype=torch.int64))
    return dict(data_samples=[sample], inputs=dict(points=[]))


def test_no_pair_names_the_cameras_and_the_sheet_that_shows_them():
    training = _Training()
    for _ in range(4):
        training.iterate(counts(pairs=0), distilled(0, 0))
    with pytest.raises(InputError) as stopped:
        training.iterate(counts(pairs=0), distilled(0, 0))
    message = str(stopped.value)
    assert 'the last 5 iterations, up to iteration 4,' in message and '(cameras CAM_FRONT, CAM_BACK)' in message
    assert 'python tools/visualize.py pairs work/mine.py' in message and 'lidar2cam' in message


@pytest.mark.parametrize(
    ('outputs', 'data_batch', 'told'),
    [
        (counts(pairs=7, contrasted=0), {}, 'superpixel'),
        (counts(pairs=7, temporal_pairs=0), {}, 'max_distance_m'),
        (counts(pairs=7, loss_occupancy=0), distilled(1, 1, support=0), 'radius_m'),
        (counts(labelled_voxels=0), {}, 'pts_semantic_mask'),
        (counts(), detected(), 'metainfo.classes'),
        (counts(), detected(-1, -1), 'metainfo.classes'),
    ],
)
def test_each_kind_of_nothing_has_its_remedy(outputs, data_batch, told):
    training = _Training()
    with pytest.raises(InputError, match=told):
        for _ in range(5):
            training.iterate(outputs, data_batch)


@pytest.mark.parametrize(
    ('outputs', 'data_batch'),
    [
        (counts(pairs=7), distilled(1, 1, support=0)),  # nobody learns from the queries
        (counts(pairs=7, loss_occupancy=1), distilled(1, 1)),
        (counts(), detected(-1, 2)),
        (counts(), {}),  # of a model that counts nothing
    ],
)
def test_something_to_learn_from_passes(outputs, data_batch):
    training = _Training()
    for _ in range(12):
        training.iterate(outputs, data_batch)
    assert training.said == []


def test_single_frames_without_pairs_are_legal():
    training = _Training(steps=7)
    for iteration in range(21):
        training.iterate(counts(pairs=iteration % 5 == 0))


def test_a_pass_that_is_shorter_than_the_patience_is_enough_to_tell():
    training = _Training(steps=2)
    training.iterate(counts(pairs=0))
    with pytest.raises(InputError, match='a whole pass of 2 iterations'):
        training.iterate(counts(pairs=0))


def test_the_last_iterations_of_a_resumed_training_are_no_pass():
    training = _Training(steps=3)
    training.runner.iter = 1  # of a loop over iterations
    training.hook.before_train_epoch(training.runner)
    for _ in range(2):
        training.iterate(counts(pairs=0))


def test_one_camera_without_pairs_among_others_is_named_once():
    training = _Training()
    for _ in range(15):
        training.iterate(counts(pairs=4), distilled(2, 0))
    assert len(training.said) == 1 and 'CAM_BACK' in training.said[0] and 'CAM_FRONT' not in training.said[0]


def test_pairs_of_another_rank_are_enough(monkeypatch):
    def all_reduce(counts, op):
        assert op == 'max'
        counts += others

    monkeypatch.setattr(nothing_to_learn_hook, 'all_reduce', all_reduce)
    training, others = _Training(), 1
    for _ in range(5):
        training.iterate(counts(pairs=0))
    others = 0
    with pytest.raises(InputError):
        for _ in range(5):
            training.iterate(counts(pairs=0))
