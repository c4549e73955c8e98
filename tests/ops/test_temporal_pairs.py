import pytest
import torch

from cleverdistiller.ops.temporal_pairs import is_ground, mutual_nearest_pairs
from conftest import make_sweep


def slow_pairs(a, b, max_distance_m) -> list[list[int]]:
    """Every distance by hand."""
    pairs = []
    for i in range(len(a)):
        to_b = [float((a[i] - point).norm()) for point in b]
        j = min(range(len(b)), key=to_b.__getitem__)
        to_a = [float((b[j] - point).norm()) for point in a]
        if min(to_a) == to_a[i] and to_b[j] < max_distance_m:
            pairs.append([i, j])
    return pairs


def slow_ground(points, cell_m, height_m) -> list[bool]:
    columns = {}
    for x, y, z in points.tolist():
        columns.setdefault((x // cell_m, y // cell_m), []).append(z)
    return [z - min(columns[x // cell_m, y // cell_m]) <= height_m for x, y, z in points.tolist()]


@pytest.mark.parametrize('max_distance_m', [0.05, 0.2, 10.0])
def test_pairs_are_each_other_s_nearest_within_reach(max_distance_m):
    a, b = torch.rand(60, 3).double(), torch.rand(90, 3).double()
    found = mutual_nearest_pairs(a, b, max_distance_m)
    assert found.dtype == torch.int64 and found.tolist() == slow_pairs(a, b, max_distance_m)
    assert 0 < len(found) < 60


def test_a_third_point_between_two_takes_its_nearer_one_alone():
    a, b = torch.tensor([[0.0, 0, 0], [0.05, 0, 0]]), torch.tensor([[0.04, 0, 0]])
    assert mutual_nearest_pairs(a, b, 0.1).tolist() == [[1, 0]]


def test_pairs_are_closer_than_the_limit():
    a = torch.zeros(1, 3)
    assert len(mutual_nearest_pairs(a, torch.tensor([[0.0, 0.5, 0]]), 0.5)) == 0
    assert len(mutual_nearest_pairs(a, torch.tensor([[0.0, 0.499, 0]]), 0.5)) == 1


@pytest.mark.parametrize('sizes', [(0, 5), (5, 0), (0, 0)])
def test_an_empty_cloud_has_no_pairs(sizes):
    found = mutual_nearest_pairs(*(torch.rand(size, 3) for size in sizes), 10.0)
    assert found.shape == (0, 2) and found.dtype == torch.int64


@pytest.mark.parametrize('cell_m, height_m', [(0.5, 0.3), (4.0, 0.1)])
def test_ground_is_what_lies_low_in_its_column(cell_m, height_m):
    points = torch.rand(400, 3).double() * torch.tensor([10.0, 10.0, 2.0]).double() - 5
    ground = is_ground(points, cell_m, height_m)
    assert ground.tolist() == slow_ground(points, cell_m, height_m)
    assert 0 < ground.sum() < len(ground)


def test_the_ground_of_a_yard_is_found_and_its_walls_stay():
    points = torch.from_numpy(make_sweep(0)[:, :3])
    ground = is_ground(points, 0.5, 0.3)
    flat = points[:, 2] < -1.7  # the sensor is 1.8 m above it
    assert ground[flat].all() and (~ground)[~flat].float().mean() > 0.8


def test_no_points_have_no_ground():
    assert is_ground(torch.zeros(0, 3), 0.5, 0.3).shape == (0,)
