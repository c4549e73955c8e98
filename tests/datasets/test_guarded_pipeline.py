"""A frame that a pipeline leaves without points: refused by name in training, predicted as empty."""

import numpy as np
import pytest
import torch
from mmdet3d.datasets.transforms import PointSample
from mmdet3d.registry import DATASETS, TRANSFORMS
from mmdet3d.structures import LiDARPoints

from cleverdistiller.datasets.guarded_pipeline import GuardedPipeline
from cleverdistiller.errors import InputError
from conftest import small_dataset, write_frames

RANGE = dict(type='PointsRangeFilter', point_cloud_range=(0, -40, -3, 70, 40, 1))
SAMPLERS = [dict(type='PointSample', num_points=8), dict(type='SampledPointsFirst', num_points=8)]


def frame(height: float) -> dict:
    points = torch.tensor([[10.0, row, height, 0.5] for row in range(20)])
    return dict(points=LiDARPoints(points, points_dim=4), frame_id='000123', lidar_path='velodyne/000123.bin')


@pytest.mark.parametrize('sampler', SAMPLERS, ids=lambda one: one['type'])
def test_training_names_the_frame_and_the_range(sampler):
    pipeline = GuardedPipeline([RANGE, sampler], test_mode=False)
    assert len(pipeline(frame(-1))['points']) >= 8
    with pytest.raises(InputError) as refused:
        pipeline(frame(-7))
    said = str(refused.value)
    assert '000123 (velodyne/000123.bin)' in said and '-40.0, -3.0, 70.0' in said and 'remedy' in said


@pytest.mark.parametrize('sampler', SAMPLERS, ids=lambda one: one['type'])
def test_a_frame_to_predict_comes_without_points(sampler):
    pipeline = GuardedPipeline([RANGE, sampler, dict(type='Pack3DDetInputs', keys=('points',))], test_mode=True)
    assert pipeline(frame(-7))['inputs']['points'].shape == (0, 4)
    assert len(pipeline(frame(-1))['inputs']['points']) >= 8


def test_every_dataset_of_ours_is_guarded(tmp_path):
    write_frames(tmp_path, 2)
    far = np.fromfile(tmp_path / '1.bin', np.float32).reshape(-1, 5) + np.float32([0, 0, -50, 0, 0])
    far.tofile(tmp_path / '1.bin')
    pipeline = [dict(type='LoadLiDARSweep'), RANGE, dict(type='PackDistillationInputs')]
    training, testing = (
        DATASETS.build(small_dataset(tmp_path, pipeline=pipeline, test_mode=mode)) for mode in (False, True)
    )
    assert len(training[0]['inputs']['points']) and testing[1]['inputs']['points'].shape == (0, 4)
    with pytest.raises(InputError, match=r'frame1 .*1\.bin\), none of whose points'):
        training[1]


def test_a_transform_may_give_a_frame_up():
    assert GuardedPipeline([lambda data: None, TRANSFORMS.build(RANGE)], test_mode=False)(frame(0)) is None
    assert issubclass(TRANSFORMS.get('SampledPointsFirst'), PointSample)
