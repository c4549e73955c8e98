"""The sampled points come first, the others follow, and none is lost."""

import numpy as np
import pytest
import torch
from mmdet3d.registry import TRANSFORMS
from mmdet3d.structures import LiDARPoints


def sampled_first(points: torch.Tensor, **options) -> torch.Tensor:
    step = TRANSFORMS.build(dict(type='SampledPointsFirst', **options))
    return step(dict(points=LiDARPoints(points, points_dim=4)))['points'].tensor


def cloud(count: int) -> torch.Tensor:
    return torch.cat([torch.rand(count, 3) * 60, torch.arange(count)[:, None]], 1)  # the row as its intensity


def test_the_first_points_are_mmdet3d_s_sample_and_the_rest_follow():
    points = cloud(50)
    np.random.seed(1)
    found = sampled_first(points, num_points=20, sample_range=70.0)
    np.random.seed(1)
    step = TRANSFORMS.build(dict(type='PointSample', num_points=20, sample_range=70.0))
    expected = step(dict(points=LiDARPoints(points, points_dim=4)))['points'].tensor
    assert torch.equal(found[:20], expected)
    assert sorted(found[:, 3].tolist()) == list(range(50))


@pytest.mark.parametrize('sample_range', [None, 40.0])
def test_a_small_cloud_fills_up_with_points_twice(sample_range):
    found = sampled_first(cloud(10), num_points=16, sample_range=sample_range)
    assert len(found) >= 16 and set(found[:, 3].tolist()) == set(range(10))
    assert len(found[16:, 3].unique()) == len(found) - 16
