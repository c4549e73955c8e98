import numpy as np
import pytest
import torch

from cleverdistiller.ops.occupancy_queries import radius_pairs, sample_queries
from conftest import make_sweep


@pytest.fixture
def sweep() -> torch.Tensor:
    points = torch.from_numpy(make_sweep(0))
    points[:, 3] /= 255
    return points


def brute_force(queries, points, radius_m) -> set:
    return {
        (q, p)
        for q in range(len(queries))
        for p in range(len(points))
        if float(((queries[q] - points[p]) ** 2).sum()) <= radius_m**2
    }


def test_thirds_lie_where_they_should_with_the_right_labels(sweep):
    points, intensity = sweep[:, :3], sweep[:, 3]
    position, occupied, target, anchor = sample_queries(points, intensity, 100)
    assert len(position) == 100 and occupied.sum() == 34
    for row in range(100):
        p, q = points[anchor[row]].double(), position[row].double()
        along = float(q @ p / p.norm())
        assert float((q - along * p / p.norm()).norm()) < 1e-4  # on the ray
        step = along - float(p.norm())
        if row < 33:  # front
            assert -0.1001 <= step <= 1e-4 and occupied[row] == 0 and target[row] == intensity[anchor[row]]
        elif row < 66:  # sight
            assert 0 <= along <= float(p.norm()) + 1e-4 and occupied[row] == 0 and target[row] == -1
        else:  # behind
            assert -1e-4 <= step <= 0.1001 and occupied[row] == 1 and target[row] == intensity[anchor[row]]


def test_shares_of_the_shell_are_uniform_and_permutations_independent(sweep):
    position, _, _, anchor = sample_queries(sweep[:, :3], sweep[:, 3], 2700)
    share = (position.norm(dim=1) - sweep[anchor, :3].norm(dim=1)).abs() / 0.1
    for part in (slice(0, 900), slice(1800, 2700)):
        assert abs(float(share[part].mean()) - 0.5) < 0.05 and len(anchor[part].unique()) == 900
    overlap = set(anchor[:900].tolist()) & set(anchor[1800:].tolist())
    assert abs(len(overlap) - 900 * 900 / len(sweep)) < 60


def test_a_small_cloud_gives_fewer_queries(sweep):
    position, occupied, _, _ = sample_queries(sweep[:10, :3], sweep[:10, 3], 2048)
    assert len(position) == 30 and occupied.sum() == 10


@pytest.mark.parametrize('case', ['random', 'borders', 'one_cell', 'far', 'sweep'])
def test_radius_pairs_equal_brute_force(case, sweep):
    queries, points = torch.randn(40, 3) * 2, torch.randn(300, 3) * 2
    if case == 'borders':
        queries, points = queries.round(), (points * 2).round() / 2
    elif case == 'one_cell':
        queries, points = queries * 0.1, points * 0.1
    elif case == 'far':
        queries = queries + torch.tensor([500.0, -300.0, 80.0])
        queries[:3] = points[:3]
    elif case == 'sweep':
        points = sweep[:, :3][:400]
        queries = points[::20] * 0.98
    query, point = radius_pairs(queries, points, 1.0)
    assert set(zip(query.tolist(), point.tolist())) == brute_force(queries, points, 1.0)
    assert (query.diff() >= 0).all()


def test_a_cap_keeps_a_uniform_subset():
    points = torch.rand(60, 3) * 0.1
    queries = torch.zeros(2, 3)
    queries[1] = 5.0  # nothing near
    counts = np.zeros(60)
    for _ in range(500):
        query, point = radius_pairs(queries, points, 1.0, max_points=12)
        assert (query == 0).all() and len(point) == 12 == len(point.unique())
        counts[point] += 1
    assert abs(counts - 100).max() < 45  # five standard deviations


def test_a_cap_above_the_count_keeps_all():
    queries, points = torch.randn(20, 3), torch.randn(100, 3)
    query, point = radius_pairs(queries, points, 1.0, max_points=1000)
    assert set(zip(query.tolist(), point.tolist())) == brute_force(queries, points, 1.0)


def right_answers_of_the_shortcut(points, support: str) -> float:
    """Share of pairs whose label sign((q - p).p) tells, the sight queries left out (their r p gives no surface)."""
    from mmdet3d.structures import LiDARPoints

    from cleverdistiller.datasets.transforms import SampleOccupancyQueries

    queries = SampleOccupancyQueries(support=support)(dict(points=LiDARPoints(points, points_dim=4)))['queries']
    q, p = queries.position_lidar_m[queries.support_query], points[queries.support_point, :3]
    guess = ((q - p) * p).sum(1) > 0
    return float((guess == (queries.occupied[queries.support_query] > 0)).float().mean())


def test_the_shortcut_exists_with_the_anchor_alone(sweep):
    points = sweep[:, :4].contiguous()
    assert right_answers_of_the_shortcut(points, 'anchor') > 0.999
    assert right_answers_of_the_shortcut(points, 'radius') < 0.9


def test_the_shortcut_on_the_real_keyframe(keyframe_points):
    points = keyframe_points[:, :4].clone()
    points[:, 3] /= 255
    assert right_answers_of_the_shortcut(points, 'anchor') > 0.999
    assert right_answers_of_the_shortcut(points, 'radius') < 0.9
