import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.transforms import AugmentScan, PairPointsWithPixels, SampleOccupancyQueries
from cleverdistiller.errors import InputError
from conftest import small_dataset, small_pipeline


@pytest.fixture
def loaded(frames_dir) -> dict:
    """A frame after loading and pairing."""
    dataset = DATASETS.build(small_dataset(frames_dir))
    return Compose(small_pipeline()[:3])(dataset.get_data_info(0))


def pair_of(loaded: dict, **options) -> dict:
    return PairPointsWithPixels(**options)({**loaded, 'points': loaded['points'].clone()})


def test_pairs_point_where_the_camera_looks(loaded):
    points, pairs = loaded['points'].tensor, loaded['pairs']
    ahead = points[pairs.point_index[pairs.image_index == 0]]
    behind = points[pairs.point_index[pairs.image_index == 1]]
    assert (ahead[:, 0] > 1).all() and (behind[:, 0] < -1).all() and len(ahead) and len(behind)


def test_a_mirrored_image_mirrors_its_columns_only(loaded):
    mirrored = pair_of({**loaded, 'img_hflip': np.array([True, False])})['pairs']
    first = loaded['pairs'].image_index == 0
    assert torch.equal(mirrored.uv_px[first, 0], 127 - loaded['pairs'].uv_px[first, 0])
    assert torch.equal(mirrored.uv_px[first, 1], loaded['pairs'].uv_px[first, 1])
    assert torch.equal(mirrored.uv_px[~first], loaded['pairs'].uv_px[~first])


def test_frustum_only_keeps_seen_points_and_their_pairs(loaded):
    results = pair_of(loaded, frustum_only=True, max_points=100)
    assert len(results['points']) == 100
    pairs, whole = results['pairs'], loaded['pairs']
    expected = {
        (tuple(loaded['points'].tensor[p].tolist()), int(i)): uv.tolist()
        for p, i, uv in zip(whole.point_index, whole.image_index, whole.uv_px)
    }
    for point, image, uv in zip(pairs.point_index, pairs.image_index, pairs.uv_px):
        assert expected[(tuple(results['points'].tensor[point].tolist()), int(image))] == uv.tolist()
    assert set(pairs.point_index.tolist()) == set(range(100))


def test_a_frame_nobody_sees_gives_no_pairs_and_keeps_its_points(loaded):
    results = pair_of(loaded, min_depth_m=1000.0, frustum_only=True)
    assert len(results['pairs']) == 0 and len(results['points']) == len(loaded['points'])


def test_points_and_queries_move_alike_and_only_points_are_jittered(loaded):
    results = SampleOccupancyQueries(num_queries=96)({**loaded, 'points': loaded['points'].clone()})
    raw_points, raw_queries = results['points'].tensor.clone(), results['queries']
    results = AugmentScan(rotate_prob=1.0)(results)
    matrix = torch.from_numpy(results['lidar_aug_matrix'][:3, :3]).float()
    jitter = results['points'].tensor[:, :3] - raw_points[:, :3] @ matrix.T
    assert 0.004 < jitter.std() < 0.006 and jitter.abs().max() < 0.0201
    torch.testing.assert_close(results['queries'].position_lidar_m, raw_queries.position_lidar_m @ matrix.T)
    assert torch.equal(results['queries'].support_point, raw_queries.support_point)
    assert torch.equal(results['points'].tensor[:, 3], raw_points[:, 3])


def test_the_matrix_is_a_scaled_turn_or_mirror_about_z():
    matrices = np.stack([AugmentScan()._draw_matrix() for _ in range(2000)])
    scale = np.abs(np.linalg.det(matrices)) ** (1 / 3)
    assert 0.9 <= scale.min() < 0.905 and 1.095 < scale.max() <= 1.1
    np.testing.assert_allclose(matrices @ matrices.transpose(0, 2, 1), scale[:, None, None] ** 2 * np.eye(3), atol=1e-9)
    np.testing.assert_allclose(matrices[:, 2, 2], scale)
    assert 0.45 < (np.linalg.det(matrices) < 0).mean() < 0.55  # one of two flips
    turned = ~np.isclose(matrices[:, 0, 1], 0)
    assert 0.45 < turned.mean() < 0.55


def test_an_unknown_support_is_refused():
    with pytest.raises(InputError, match='radius or anchor'):
        SampleOccupancyQueries(support='nearest')
