"""Queries are made from, and explained by, one point of each cell; the cloud itself stays as it is."""

import pytest
import torch
from mmdet3d.structures import LiDARPoints

from cleverdistiller.datasets.transforms import SampleOccupancyQueries
from cleverdistiller.errors import InputError
from cleverdistiller.ops.occupancy_queries import radius_pairs, sample_queries
from cleverdistiller.structures import OccupancyQueries


def draw(points: torch.Tensor, **options) -> OccupancyQueries:
    results = dict(points=LiDARPoints(points.clone(), points_dim=4), pairs='of the raw sweep')
    results = SampleOccupancyQueries(**options)(results)
    assert torch.equal(results['points'].tensor, points) and results['pairs'] == 'of the raw sweep'
    return results['queries']


def crowded_sweep() -> torch.Tensor:
    """Nine in ten points on a metre of the car, the others on a wide ground."""
    car = torch.rand(9000, 3) * torch.tensor([1.0, 1.0, 0.05])
    ground = (torch.rand(1000, 3) - 0.5) * torch.tensor([60.0, 60, 0.1])
    return torch.cat([torch.cat([car, ground]), torch.rand(10000, 1)], 1)


def near_share(points: torch.Tensor, reach_m: float, **options) -> float:
    """Of the pairs, which the loss is averaged over, those whose query is so near to the sensor."""
    queries = draw(points, **options)
    return float((queries.position_lidar_m[queries.support_query].norm(dim=1) < reach_m).float().mean())


def cells_of(points: torch.Tensor, size_m: float = 0.1) -> list[tuple]:
    return [tuple(cell) for cell in torch.floor(points[:, :3].double() / size_m).long().tolist()]


@pytest.mark.parametrize('support', ['radius', 'anchor'])
def test_no_cell_explains_through_two_of_its_points(support):
    points = crowded_sweep()
    rows = draw(points, support=support, num_queries=300, max_support=None).support_point.unique()
    assert len(set(cells_of(points[rows]))) == len(rows)
    raw_rows = draw(points, support=support, num_queries=300, max_support=None, decimate_m=None).support_point.unique()
    assert len(set(cells_of(points[raw_rows]))) < len(raw_rows)


def test_an_anchor_is_the_point_its_query_was_made_from():
    points = crowded_sweep()
    queries = draw(points, support='anchor', num_queries=300)
    surface = points[queries.support_point]
    made = queries.intensity >= 0  # in front of the surface or behind it, by 0.1 m at most
    assert torch.equal(queries.intensity[made], surface[made, 3])
    assert ((queries.position_lidar_m - surface[:, :3]).norm(dim=1)[made] < 0.1001).all()


@pytest.mark.parametrize('decimate_m', [None, 0.1])
def test_a_number_of_points_bounds_what_explains_not_what_is_asked(decimate_m):
    points = crowded_sweep()
    options = dict(decimate_m=decimate_m, num_queries=300, max_support=None)
    queries = draw(points, max_points=200, **options)
    assert len(queries) == 300 and 50 < len(queries.support_point.unique()) <= 200
    for max_points in (None, 10**6):
        assert len(draw(points, max_points=max_points, **options).support_point.unique()) > 300


def test_the_whole_sweep_is_drawn_from_as_it_was_before_decimation_came():
    points = crowded_sweep()
    torch.manual_seed(3)
    queries = draw(points, decimate_m=None)
    torch.manual_seed(3)
    position, occupied, intensity, _ = sample_queries(points[:, :3], points[:, 3], 2048, 0.1)
    query, point = radius_pairs(position, points[:, :3], 1.0, 32)
    expected = OccupancyQueries(position, occupied, intensity, query, point)
    assert all(torch.equal(getattr(queries, name), getattr(expected, name)) for name in vars(expected))


def test_equal_seeds_give_equal_queries():
    points = crowded_sweep()
    drawn = []
    for _ in range(2):
        torch.manual_seed(5)
        drawn.append(draw(points, max_points=500))
    assert all(torch.equal(getattr(drawn[0], name), getattr(drawn[1], name)) for name in vars(drawn[0]))


def test_a_crowd_at_the_sensor_does_not_take_most_of_the_queries():
    points = crowded_sweep()
    raw, thinned = (draw(points, decimate_m=size_m).position_lidar_m.norm(dim=1) < 2 for size_m in (None, 0.1))
    assert raw.float().mean() > 0.85 and thinned.float().mean() < 0.3


def test_the_car_takes_a_tenth_of_the_real_keyframe_s_loss(keyframe_points):
    points = keyframe_points[:, :4].clone()
    points[:, 3] /= 255
    assert near_share(points, 2.5, decimate_m=None) > 0.3
    assert near_share(points, 2.5) < 0.15 and near_share(points, 2.5, max_points=16384) < 0.15


@pytest.mark.parametrize('decimate_m', [0, -0.1, float('nan')])
def test_a_cell_without_an_edge_is_refused(decimate_m):
    with pytest.raises(InputError, match='decimate_m'):
        SampleOccupancyQueries(decimate_m=decimate_m)
