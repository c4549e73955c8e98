"""Points near the car are sampled, however many there are far from it."""

import numpy as np
import pytest
import torch
from mmdet3d.registry import TRANSFORMS
from mmdet3d.structures import LiDARPoints
from mmengine.config import Config

from cleverdistiller.errors import InputError
from conftest import REPO

OURS = ('DetectionPointSample', 'SampledPointsFirst')


def sampled(kind: str, points: torch.Tensor, num_points: int = 100, **options) -> torch.Tensor:
    """The points that the heads would see."""
    step = TRANSFORMS.build(dict(type=kind, num_points=num_points, **options))
    return step(dict(points=LiDARPoints(points, points_dim=4)))['points'].tensor[:num_points]


def cloud(near: int, far: int) -> torch.Tensor:
    """Points 5 m and 60 m from the sensor, with their row as intensity."""
    directions = torch.nn.functional.normalize(torch.randn(near + far, 3), dim=1)
    distance_m = torch.tensor([5.0] * near + [60.0] * far)
    return torch.cat([directions * distance_m[:, None], torch.arange(near + far)[:, None]], 1)


def near_rows(found: torch.Tensor) -> int:
    return int((found[:, :3].norm(dim=1) < 40).sum())


@pytest.mark.parametrize('kind', OURS)
@pytest.mark.parametrize('far', [100, 101, 500])
def test_of_too_many_far_points_all_of_the_cloud_is_drawn_from(kind, far):
    np.random.seed(0)
    found = sampled(kind, cloud(400, far), sample_range=40.0)
    assert len(found) == len(found[:, 3].unique()) == 100
    expected = 100 * 400 / (400 + far)
    assert abs(near_rows(found) - expected) < 25  # five standard deviations
    stock = sampled('PointSample', cloud(400, far), sample_range=40.0)
    assert near_rows(stock) == 0  # the defect


@pytest.mark.parametrize('kind', OURS)
@pytest.mark.parametrize('near, far', [(400, 99), (400, 0), (60, 40), (30, 20), (0, 30), (0, 100), (0, 300)])
def test_other_clouds_are_sampled_as_mmdet3d_does(kind, near, far):
    """Fewer far points, none, as many points as wanted, too few, and nothing near at all."""
    points = cloud(near, far)
    found = sampled(kind, points, sample_range=40.0)
    assert len(found) == 100
    if near and far < 100:
        np.random.seed(1)
        found = sampled(kind, points, sample_range=40.0)
        np.random.seed(1)
        assert torch.equal(found, sampled('PointSample', points, sample_range=40.0))
    if near + far >= 100:
        assert len(found[:, 3].unique()) == 100 and near_rows(found) >= min(near, 100 - far)


def test_without_a_range_all_points_are_alike():
    points = cloud(50, 500)
    np.random.seed(1)
    found = sampled('DetectionPointSample', points)
    np.random.seed(1)
    assert torch.equal(found, sampled('PointSample', points))


def test_a_share_of_the_points_is_refused():
    with pytest.raises(InputError, match='a number of points'):
        TRANSFORMS.build(dict(type='DetectionPointSample', num_points=0.5))


LOADING = [
    *(REPO / 'configs/_base_/datasets').glob('*_detection.py'),
    REPO / 'configs/demo/pointrcnn_minkunet14_50_kitti_simulated.py',
    REPO / 'configs/detection/kitti_real_overfit.py',
]


@pytest.mark.parametrize('config', LOADING, ids=lambda config: config.stem)
def test_no_shipped_config_samples_with_the_stock_transform(config):
    cfg = Config.fromfile(config)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        kinds = [step.type for step in loader.dataset.pipeline if 'Point' in step.type]
        assert any(kind in OURS for kind in kinds) and 'PointSample' not in kinds
