"""Every operator against a loop that restates its CUDA kernel, on random clouds and on ones full of ties."""

import numpy as np
import pytest
import torch

from cleverdistiller.errors import InputError
from cleverdistiller.ops import point_ops
from cleverdistiller.ops.point_ops import (
    ball_query,
    blocks,
    first_hits,
    furthest_point_sample,
    furthest_point_sample_with_dist,
    gather_points,
    grouping_operation,
    three_interpolate,
    three_nn,
)

CLOUDS = {
    'random': lambda b, n: torch.randn(b, n, 3),
    'lattice': lambda b, n: torch.randint(0, 3, (b, n, 3)).float(),  # duplicates, and ties between the others
    'one place': lambda b, n: torch.ones(b, n, 3),
}


@pytest.fixture(params=CLOUDS)
def cloud(request):
    torch.manual_seed(0)
    return CLOUDS[request.param]


@pytest.fixture(autouse=True, params=[7, 2**18], ids=['many blocks', 'one block'])
def block_size(request, monkeypatch):
    monkeypatch.setattr(point_ops, 'PAIRS_AT_ONCE', request.param)


def squared_distance(a, b) -> np.float32:
    x, y, z = a.numpy() - b.numpy()
    return x * x + y * y + z * z


def fps_kernel(distance: np.ndarray, num_points: int) -> list[int]:
    """The CUDA block, thread by thread: strided maxima, then a tree reduction."""
    total = len(distance)
    threads = max(min(1 << int(np.log2(total)), 1024), 1)
    nearest, chosen = np.full(total, 1e10, np.float32), [0]
    while len(chosen) < num_points:
        best, best_index = [-1.0] * threads, [0] * threads
        for k in range(total):
            nearest[k] = min(distance[chosen[-1], k], nearest[k])
            if nearest[k] > best[k % threads]:
                best[k % threads], best_index[k % threads] = nearest[k], k
        half = threads // 2
        while half:
            for thread in range(half):
                if best[thread + half] > best[thread]:
                    best[thread], best_index[thread] = best[thread + half], best_index[thread + half]
            half //= 2
        chosen.append(best_index[0])
    return chosen


@pytest.mark.parametrize(('total', 'wanted'), [(1, 3), (2, 2), (7, 9), (16, 16), (37, 20), (1100, 6)])
def test_furthest_point_sampling_equals_the_kernel(cloud, total, wanted):
    points = cloud(2, total)
    delta = points[:, :, None] - points[:, None]
    distance = (delta[..., 0] ** 2 + delta[..., 1] ** 2 + delta[..., 2] ** 2).contiguous()
    expected = torch.tensor([fps_kernel(one.numpy(), wanted) for one in distance], dtype=torch.int32)
    for chosen in (furthest_point_sample(points, wanted), furthest_point_sample_with_dist(distance, wanted)):
        assert chosen.dtype == torch.int32
        assert torch.equal(chosen, expected)


def ball_query_kernel(min_radius, max_radius, sample_num, xyz, centres) -> torch.Tensor:
    low, high = np.float32(min_radius) ** 2, np.float32(max_radius) ** 2
    found = torch.zeros(*centres.shape[:2], sample_num, dtype=torch.int32)
    for b, centre_list in enumerate(centres):
        for row, centre in enumerate(centre_list):
            count = 0
            for k, point in enumerate(xyz[b]):
                squared = squared_distance(centre, point)
                if squared == 0 or low <= squared < high:
                    if count == 0:
                        found[b, row] = k
                    found[b, row, count] = k
                    count += 1
                    if count == sample_num:
                        break
    return found


@pytest.mark.parametrize('radii', [(0, 1), (0, 0.6), (1, 2), (1.5, 1.6), (0, 100)])
@pytest.mark.parametrize('sample_num', [1, 4, 40])
def test_ball_query_equals_the_kernel(cloud, radii, sample_num):
    xyz = cloud(2, 23)
    centres = torch.cat([xyz[:, 5:9], torch.full((2, 1, 3), 50.0), cloud(2, 4) + 0.5], 1)  # one sees nothing
    found = ball_query(*radii, sample_num, xyz, centres)
    assert found.dtype == torch.int32
    assert torch.equal(found, ball_query_kernel(*radii, sample_num, xyz, centres))


def test_a_ball_is_open_outside_and_its_radius_is_squared_in_float32():
    radius_squared = np.float32(0.1) ** 2
    assert radius_squared > np.float32(0.1**2)  # what a radius squared in float64 would compare with
    x = np.float32(0.1)
    xyz = torch.tensor([[[x, 0, 0], [np.nextafter(x, np.float32(0)), 0, 0]]])
    assert ball_query(0, 0.1, 2, xyz, torch.zeros(1, 1, 3)).tolist() == [[[1, 1]]]
    assert ball_query(0.1, 1, 2, xyz, torch.zeros(1, 1, 3)).tolist() == [[[0, 0]]]


def test_a_cloud_without_points_or_centres_gives_zeros():
    assert ball_query(0, 1, 2, torch.zeros(1, 0, 3), torch.zeros(1, 3, 3)).tolist() == [[[0, 0]] * 3]
    assert ball_query(0, 1, 2, torch.zeros(1, 3, 3), torch.zeros(1, 0, 3)).shape == (1, 0, 2)


def three_nn_kernel(target, source) -> tuple[torch.Tensor, torch.Tensor]:
    distance, index = torch.zeros(target.shape), torch.zeros(target.shape, dtype=torch.int32)
    for b, points in enumerate(target):
        for row, point in enumerate(points):
            best = [(np.float32(np.inf), 0)] * 3
            for k, other in enumerate(source[b]):
                squared = squared_distance(point, other)
                rank = next((rank for rank in range(3) if squared < best[rank][0]), 3)
                best = [*best[:rank], (squared, k), *best[rank:]][:3]
            distance[b, row] = torch.tensor([np.sqrt(squared) for squared, _ in best])
            index[b, row] = torch.tensor([k for _, k in best])
    return distance, index


@pytest.mark.parametrize('num_source', [1, 2, 3, 20])
def test_three_nn_equals_the_kernel(cloud, num_source):
    target, source = cloud(2, 11), cloud(2, num_source)
    distance, index = three_nn(target, source)
    expected, expected_index = three_nn_kernel(target, source)
    assert index.dtype == torch.int32
    assert torch.equal(index, expected_index)
    torch.testing.assert_close(distance, expected, rtol=2e-7, atol=0)


def test_gathering_equals_a_loop():
    features, index = torch.randn(2, 3, 6), torch.randint(0, 6, (2, 4, 5)).int()
    weight = torch.rand(2, 7, 3)
    grouped = grouping_operation(features, index)
    assert grouped.shape == (2, 3, 4, 5)
    for b, m, s in np.ndindex(2, 4, 5):
        assert torch.equal(grouped[b, :, m, s], features[b, :, index[b, m, s]])
    assert torch.equal(gather_points(features, index[:, 0]), grouped[:, :, 0])
    near = torch.randint(0, 6, (2, 7, 3)).int()
    mixed = three_interpolate(features, near, weight)
    for b, n in np.ndindex(2, 7):
        expected = sum(weight[b, n, k] * features[b, :, near[b, n, k]] for k in range(3))
        torch.testing.assert_close(mixed[b, :, n], expected)


def test_gradients_equal_numerical_ones_where_points_repeat():
    features = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([[[0, 0, 4], [4, 4, 1]], [[2, 2, 2], [0, 1, 2]]]).int()
    weight = torch.rand(2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: gather_points(f, index[:, 0]), features)
    assert torch.autograd.gradcheck(lambda f: grouping_operation(f, index), features)
    assert torch.autograd.gradcheck(lambda f: three_interpolate(f, index, weight.detach()), features)
    three_interpolate(features, index, weight).sum().backward()
    assert weight.grad is None  # as mmcv


def test_indices_and_distances_carry_no_gradient():
    points = torch.randn(1, 6, 3, requires_grad=True)
    distance, index = three_nn(points, points)
    found = ball_query(0, 1, 2, points, points)
    assert not any(x.requires_grad for x in (distance, index, found, furthest_point_sample(points, 2)))


def test_first_hits_counts_and_orders():
    inside = torch.tensor([[[0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1]]]).bool()
    hits, count = first_hits(inside, 2)
    assert count.tolist() == [[2, 0, 1]]
    assert hits[0, 0].tolist() == [1, 2] and hits[0, 1].tolist() == [0, 0] and hits[0, 2, 0] == 3


@pytest.mark.parametrize('shape', [(1, 1, 1), (5, 2, 3), (3, 20, 4), (2, 3, 1000), (4, 3, 0), (2, 0, 5)])
def test_blocks_cover_every_row_once(shape):
    seen = torch.zeros(shape[:2])
    for clouds, some in blocks(*shape):
        seen[clouds, some] += 1
        assert seen[clouds, some].numel() * shape[2] <= max(point_ops.PAIRS_AT_ONCE, shape[2])
    assert (seen == 1).all()


def test_empty_clouds_are_refused():
    with pytest.raises(InputError, match='no point'):
        furthest_point_sample(torch.zeros(1, 0, 3), 2)
    with pytest.raises(InputError, match='no source point'):
        three_nn(torch.zeros(1, 2, 3), torch.zeros(1, 0, 3))
