import math

import numpy as np
import pytest
import torch

from cleverdistiller.ops.occupancy_queries import decimate, radius_pairs, sample_queries
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


def members_of_cells(points, size_m) -> dict[tuple, list[int]]:
    """Rows of the points in each cell, point by point."""
    members = {}
    for row, point in enumerate(points.double()):
        members.setdefault(tuple(math.floor(value / size_m) for value in point[:3].tolist()), []).append(row)
    return members


@pytest.mark.parametrize('case', ['sweep', 'random', 'one cell', 'one point', 'about the sensor', 'far'])
def test_decimation_keeps_one_point_of_each_cell(case, sweep):
    points = dict(
        sweep=sweep[:, :4],
        random=torch.randn(500, 4),
        **{'one cell': torch.rand(50, 4) * 0.4, 'one point': torch.rand(1, 4)},
        **{'about the sensor': (torch.rand(200, 4) - 0.5), 'far': torch.rand(300, 4) * 3 + 500},
    )[case]
    kept, members = decimate(points, 0.5), members_of_cells(points, 0.5)
    assert len(kept) == len(members)
    assert all(len(set(kept.tolist()) & set(rows)) == 1 for rows in members.values())


def test_decimation_draws_a_cell_s_point_uniformly_and_repeats_with_its_seed():
    points = torch.rand(20, 3) * 0.4
    points[10:] += 7
    counts = np.zeros(20)
    for seed in range(500):
        torch.manual_seed(seed)
        kept = decimate(points, 0.5)
        torch.manual_seed(seed)
        assert torch.equal(kept, decimate(points, 0.5))
        counts[kept] += 1
    assert abs(counts - 50).max() < 35  # five standard deviations


@pytest.mark.parametrize('wanted, occupied', [(99, 33), (100, 34), (101, 35)])
def test_the_rounded_thirds_leave_the_rest_to_behind(sweep, wanted, occupied):
    position, label, target, _ = sample_queries(sweep[:, :3], sweep[:, 3], wanted)
    assert len(position) == wanted and label.sum() == occupied and (target == -1).sum() == 33


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


def test_pairs_at_rounding_distance_from_the_radius_may_fall_either_way_others_not():
    corner = torch.tensor([31.2, 67.4, -11.9])
    queries = torch.randint(-9, 9, (40, 3)) * 0.15 + corner
    points = torch.randint(-9, 9, (300, 3)) * 0.15 + corner  # two steps make the radius
    query, point = radius_pairs(queries, points, 0.3)
    found = set(zip(query.tolist(), point.tolist()))
    assert brute_force(queries, points, 0.3 - 1e-4) <= found <= brute_force(queries, points, 0.3 + 1e-4)


def test_a_cap_keeps_each_query_s_smaller_number_of_its_own_points():
    queries, points = torch.randn(40, 3), torch.randn(200, 3)
    queries[7] = 100.0
    everything = brute_force(queries, points, 1.0)
    all_counts = np.bincount([q for q, _ in everything], minlength=40)
    assert all_counts.min() == 0 and 0 < (all_counts > 5).sum() < 40
    query, point = radius_pairs(queries, points, 1.0, max_points=5)
    pairs = list(zip(query.tolist(), point.tolist()))
    assert len(pairs) == len(set(pairs)) and set(pairs) <= everything
    assert np.bincount(query, minlength=40).tolist() == np.minimum(all_counts, 5).tolist()
    assert (query.diff() >= 0).all()


def crowd(near: int, around: int) -> torch.Tensor:
    """Points within a metre of the origin, then others in the cells about it that lie farther off."""
    directions = torch.nn.functional.normalize(torch.randn(near + around, 3), dim=1)
    distance_m = torch.cat([torch.rand(near) * 0.9, 1.01 + torch.rand(around) * 0.3])
    return directions * distance_m[:, None]


@pytest.mark.parametrize('near, around', [(40, 10), (60, 600), (4, 700), (3, 700), (0, 700)])
def test_a_cap_of_four_among_a_crowd_draws_four_of_the_near_ones_uniformly(near, around):
    """All are looked at, or enough are drawn, or too few are and then all: 32 draws of 660 find four of 60 or not."""
    points, runs, kept = crowd(near, around), 500, min(4, near)
    queries = torch.zeros(2, 3)
    counts, of_first_half, shared = np.zeros(near + around), [], 0
    for _ in range(runs):
        query, point = radius_pairs(queries, points, 1.0, max_points=4)
        first, second = (set(point[query == q].tolist()) for q in (0, 1))
        assert len(query) == 2 * kept and len(first) == len(second) == kept
        np.add.at(counts, point.numpy(), 1)
        of_first_half += [sum(p < near // 2 for p in each) for each in (first, second)]
        shared += len(first & second)
    assert counts[near:].sum() == 0
    if near > 4:
        expected = 2 * runs * 4 / near
        assert abs(counts[:near] - expected).max() < 5 * expected**0.5
        # Drawn without replacement, and one query's points say nothing about the other's.
        variance = 4 * 0.5 * 0.5 * (near - 4) / (near - 1)
        assert abs(np.var(of_first_half) / variance - 1) < 0.25
        assert abs(shared - runs * 16 / near) < 5 * (runs * 16 / near) ** 0.5


def test_a_cap_above_the_count_keeps_all():
    queries, points = torch.randn(20, 3), torch.randn(100, 3)
    query, point = radius_pairs(queries, points, 1.0, max_points=1000)
    assert set(zip(query.tolist(), point.tolist())) == brute_force(queries, points, 1.0)


def shortcut(points, support: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Of every pair, sight queries included: whether sign((q - p).p) tells the label, and |q - p|."""
    from mmdet3d.structures import LiDARPoints

    from cleverdistiller.datasets.transforms import SampleOccupancyQueries

    queries = SampleOccupancyQueries(support=support)(dict(points=LiDARPoints(points, points_dim=4)))['queries']
    q, p = queries.position_lidar_m[queries.support_query], points[queries.support_point, :3]
    guess = ((q - p) * p).sum(1) > 0
    return guess == (queries.occupied[queries.support_query] > 0), (q - p).norm(dim=1)


def assert_the_anchor_alone_gives_the_label_away(points):
    right, distance_m = shortcut(points, 'anchor')
    assert len(right) == 2048
    clear = distance_m > 1e-4  # a smaller step drowns in float32 rounding of metres
    assert right[clear].all() and clear.float().mean() > 0.99
    right, _ = shortcut(points, 'radius')
    assert right.float().mean() < 0.8


def test_the_shortcut_exists_with_the_anchor_alone(sweep):
    assert_the_anchor_alone_gives_the_label_away(sweep[:, :4].contiguous())


def test_the_shortcut_on_the_real_keyframe(keyframe_points):
    points = keyframe_points[:, :4].clone()
    points[:, 3] /= 255
    assert_the_anchor_alone_gives_the_label_away(points)
