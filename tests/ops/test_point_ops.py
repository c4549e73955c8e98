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
    knn,
    stacked_ball_query,
    stacked_grouping_operation,
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


COUNTS, CENTRE_COUNTS = torch.tensor([5, 0, 9, 2]).int(), torch.tensor([3, 2, 0, 4]).int()  # of points, of centres


def stacked(make, counts):
    return make(1, int(counts.sum()))[0]


@pytest.mark.parametrize('dtype', [torch.half, torch.float, torch.double])
@pytest.mark.parametrize('radius', [0.6, 1, 100])
def test_stacked_ball_query_equals_the_kernel_on_each_cloud(cloud, radius, dtype):
    xyz, centres = stacked(cloud, COUNTS).to(dtype), stacked(cloud, CENTRE_COUNTS).to(dtype)
    found = stacked_ball_query(radius, 3, xyz, centres, COUNTS, CENTRE_COUNTS)
    expected, clouds = [], xyz.split(COUNTS.tolist())
    for points, some in zip(clouds, centres.split(CENTRE_COUNTS.tolist())):
        rows = ball_query_kernel(0, radius, 3, points[None], some[None])[0]
        for row, centre in zip(rows, some):
            if not any(squared_distance(centre, point) < np.float32(radius) ** 2 for point in points):
                row[0] = -1
        expected.append(rows)
    assert found.dtype == torch.int32
    assert torch.equal(found, torch.cat(expected))
    assert (found[3:5, 0] == -1).all()  # the centres of the cloud without points


def test_a_ball_of_half_precision_points_is_compared_in_float32():
    distance = torch.tensor(0.3).half()  # a radius whose square lies above the float16 next to it
    radius = float(np.sqrt(np.float32(distance * distance))) + 1e-6
    xyz, centres = torch.tensor([[[distance, 0, 0]]]).half(), torch.zeros(1, 1, 3).half()
    assert torch.tensor(radius**2).half() == distance * distance  # what a radius rounded to float16 would call outside
    xyz = torch.cat([torch.full_like(xyz, 9), xyz], 1)
    assert ball_query(0, radius, 1, xyz, centres).tolist() == [[[1]]]


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


def heap_kernel(distance: np.ndarray, k: int) -> list[int]:
    """One thread: a heap of the k smallest, the largest on top; then the heap is taken down from the top."""
    heap = [(np.float32(1e10), 0)] * k

    def sink(size):
        root = 0
        while 2 * root + 1 < size:
            child = 2 * root + 1
            if child + 1 < size and heap[child + 1][0] > heap[child][0]:
                child += 1
            if heap[root][0] > heap[child][0]:
                return
            heap[root], heap[child] = heap[child], heap[root]
            root = child

    for index, value in enumerate(distance):
        if value < heap[0][0]:
            heap[0] = (value, index)
            sink(k)
    for size in range(k - 1, 0, -1):
        heap[0], heap[size] = heap[size], heap[0]
        sink(size)
    return [index for _, index in heap]


@pytest.mark.parametrize('k', [1, 4, 20, 30])
def test_neighbours_equal_the_kernel_and_the_smaller_index_comes_first_at_ties(cloud, k):
    xyz, centres = cloud(2, 20), torch.cat([cloud(2, 6), torch.full((2, 1, 3), 2e5)], 1)  # the last sees nothing
    found = knn(k, xyz, centres)
    assert found.dtype == torch.int32 and found.shape == (2, k, 7) and found.is_contiguous()
    assert torch.equal(knn(k, xyz.mT.contiguous(), centres.mT.contiguous(), True), found)
    for b, centre in np.ndindex(2, 7):
        distance = np.array([squared_distance(centres[b, centre], point) for point in xyz[b]])
        ours, kernel = found[b, :, centre].tolist(), heap_kernel(distance, k)
        order = sorted((i for i in range(20) if distance[i] < 1e10), key=lambda i: (distance[i], i))[:k]
        assert ours == order + [0] * (k - len(order))
        assert (distance[ours] == distance[kernel]).all()
        if len(set(distance)) == 20:
            assert ours == kernel


def test_neighbours_of_the_points_themselves_leave_out_what_is_nowhere():
    xyz = torch.randn(1, 6, 3)
    xyz[0, 2, 1] = torch.nan
    found = knn(5, xyz)
    assert torch.equal(found[0, 0], torch.tensor([0, 1, 0, 3, 4, 5]).int())
    assert 2 not in found
    assert knn(3, torch.zeros(1, 0, 3), xyz).tolist() == [[[0] * 6] * 3]
    for k in (0, 100):
        with pytest.raises(InputError, match=f'k={k}(?s:.*)1 to 99'):
            knn(k, xyz)


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


@pytest.mark.parametrize('dtype', [torch.half, torch.float, torch.double])
def test_stacked_grouping_and_its_gradient_equal_a_loop(dtype):
    features = torch.randn(16, 3).to(dtype).requires_grad_()
    indices = torch.randint(-1, 10, (9, 40)).int()  # some are no point of their cloud
    grouped = stacked_grouping_operation(features, indices, COUNTS, CENTRE_COUNTS)
    assert grouped.shape == (9, 3, 40) and grouped.is_contiguous() and grouped.dtype == dtype
    cloud_of = torch.arange(4).repeat_interleave(CENTRE_COUNTS)
    start = COUNTS.cumsum(0) - COUNTS
    weight = torch.randn(9, 3, 40).to(dtype)
    grouped.backward(weight)
    gradient, inside = torch.zeros(16, 3, dtype=dtype), 0
    for row, slot in np.ndindex(9, 40):
        index, size = indices[row, slot], COUNTS[cloud_of[row]]
        if 0 <= index < size:
            inside += 1
            point = start[cloud_of[row]] + index
            assert torch.equal(grouped[row, :, slot], features[point])
            gradient[point] += weight[row, :, slot]  # rounded each time, as the kernel's additions
        else:
            assert (grouped[row, :, slot] == 0).all()
    assert 0 < inside < indices.numel()
    assert torch.equal(features.grad, gradient)


def test_the_gradient_of_grouping_is_rounded_after_each_term_in_half_precision():
    features = torch.randn(2, 3, 5).half().requires_grad_()
    index = torch.randint(0, 5, (2, 40, 8)).int()
    grouped = grouping_operation(features, index)
    weight = torch.randn(grouped.shape).half()
    grouped.backward(weight)
    expected, exact = torch.zeros(2, 3, 5).half(), torch.zeros(2, 3, 5)
    for b, m, s in np.ndindex(*index.shape):
        assert torch.equal(grouped[b, :, m, s], features[b, :, index[b, m, s]])
        expected[b, :, index[b, m, s]] += weight[b, :, m, s]
        exact[b, :, index[b, m, s]] += weight[b, :, m, s].float()
    assert torch.equal(features.grad, expected)
    assert not torch.equal(features.grad, exact.half())  # what torch's own gather gives


def test_counts_that_do_not_add_up_are_refused():
    xyz, few = torch.zeros(16, 3), COUNTS - 1
    with pytest.raises(InputError, match=r'xyz_batch_cnt=.*for 16 rows(?s:.*)add up to 16'):
        stacked_ball_query(1, 2, xyz, xyz[:9], few, CENTRE_COUNTS)
    with pytest.raises(InputError, match=r'indices_batch_cnt=.*for 8 rows'):
        stacked_grouping_operation(xyz, torch.zeros(8, 2).int(), COUNTS, CENTRE_COUNTS)


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
