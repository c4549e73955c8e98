from itertools import product

import pytest
import torch

from cleverdistiller.errors import InputError
from cleverdistiller.ops.serialization import (
    CURVES,
    coarsen,
    curve_codes,
    cut_into_patches,
    hilbert_code,
    z_order_code,
)
from cleverdistiller.ops.voxelize import voxelize

LAST = 2**16 - 1


def slow_z_order(cell: list[int]) -> int:
    code = 0
    for bit in reversed(range(16)):
        for axis in cell:
            code = code * 2 + (axis >> bit) % 2
    return code


def full_cube(side: int) -> torch.Tensor:
    return torch.cartesian_prod(*[torch.arange(side)] * 3)


def random_coords(sizes: list[int], extent: int) -> torch.Tensor:
    """(M, 4) int32 different cells, so many of each cloud, all in one muddle."""
    clouds = []
    for batch, size in enumerate(sizes):
        chosen = torch.randperm(extent**3)[:size]
        cells = torch.stack([chosen // extent**2, chosen // extent % extent, chosen % extent], 1)
        clouds.append(torch.cat([torch.full((size, 1), batch), cells], 1))
    coords = torch.cat(clouds).int()
    return coords[torch.randperm(len(coords))]


def test_z_order_equals_a_loop_over_bits():
    corners = torch.tensor(list(product((0, 1, LAST - 1, LAST), repeat=3)))
    cells = torch.cat([corners, torch.randint(0, LAST + 1, (500, 3))])
    assert z_order_code(cells).tolist() == [slow_z_order(cell) for cell in cells.tolist()]


@pytest.mark.parametrize('depth', [1, 2, 3, 4, 5])
def test_the_hilbert_curve_visits_every_cell_once_and_steps_to_a_neighbour(depth):
    cells = full_cube(2**depth)
    codes = hilbert_code(cells, depth)
    assert sorted(codes.tolist()) == list(range(8**depth))
    steps = cells[codes.argsort()].diff(dim=0).abs()
    assert (steps.sum(1) == 1).all()


@pytest.mark.parametrize('corner', [(0, 0, 0), (24, 40, 65528), (65528, 65528, 65528), (32760, 4096, 12344)])
def test_the_hilbert_curve_of_16_bits_runs_through_each_aligned_block_in_one_go(corner):
    cells = full_cube(8) + torch.tensor(corner)
    codes, order = hilbert_code(cells).sort()
    assert torch.equal(codes, codes[0] + torch.arange(512)) and codes[0] % 512 == 0 and codes[-1] < 2**48
    assert (cells[order].diff(dim=0).abs().sum(1) == 1).all()


def test_three_bits_fewer_are_the_cell_of_twice_the_size():
    cells = torch.randint(0, LAST + 1, (500, 3))
    assert torch.equal(z_order_code(cells) >> 3, z_order_code(cells >> 1))
    assert torch.equal(hilbert_code(cells) >> 3, hilbert_code(cells >> 1, 15))


def test_codes_sort_by_cloud_first_and_trans_exchanges_x_and_y():
    coords = random_coords([40, 50, 60], 30)
    codes = curve_codes(coords, tuple(CURVES))
    assert codes.shape == (4, 150) and codes.dtype == torch.int64
    exchanged = curve_codes(coords[:, [0, 2, 1, 3]], tuple(CURVES))
    assert torch.equal(codes[[1, 0, 3, 2]], exchanged) and not torch.equal(codes, exchanged)
    for row in codes:
        assert coords[row.argsort(), 0].tolist() == [0] * 40 + [1] * 50 + [2] * 60


def test_a_clouds_codes_do_not_depend_on_its_company():
    small, large = random_coords([50], 8), random_coords([50], 70)
    large[:, 0] = 1
    together = curve_codes(torch.cat([small, large]), tuple(CURVES))
    assert torch.equal(together[:, :50], curve_codes(small, tuple(CURVES)))


@pytest.mark.parametrize('cell', [2**16, -1])
def test_a_cell_outside_the_cube_is_refused(cell):
    coords = torch.tensor([[0, 0, 0, 0], [0, 1, LAST, 2]], dtype=torch.int32)
    curve_codes(coords, ('z', 'hilbert'))
    coords[1, 2] = cell
    with pytest.raises(InputError, match=rf'{cell}(?s:.*)0 to 65535(?s:.*)remedy: drop points(?s:.*)crop'):
        curve_codes(coords, ('z', 'hilbert'))


@pytest.mark.parametrize('far', [1e4, -1e7])
def test_a_point_far_out_is_refused(far):
    points = torch.rand(20, 4) * 5
    points[7, 1] = far
    grid = voxelize(points, torch.zeros(20, dtype=torch.int64), 1, 0.05, random_representative=False)
    with pytest.raises(InputError, match='crop far outliers'):
        curve_codes(grid.coords, ('z',))


@pytest.mark.parametrize('sizes', [[13], [5], [16], [3, 17, 0, 24, 8, 9, 1]])
def test_patches_equal_a_loop(sizes):
    coords = random_coords(sizes, 12)
    codes = curve_codes(coords, tuple(CURVES))
    for curve, patches in zip(codes.tolist(), cut_into_patches(codes, sizes, patch_size=8)):
        entries = torch.cat([group.flatten() for group in patches.rows])
        assert torch.equal(entries[patches.answers], torch.arange(sum(sizes)))
        patch_of_entry = [tuple(patch) for group in patches.rows for patch in group.tolist() for _ in patch]
        for batch, size in enumerate(sizes):
            order = sorted((row for row in range(sum(sizes)) if coords[row, 0] == batch), key=lambda row: curve[row])
            for place, row in enumerate(order):
                start = place // 8 * 8
                # The rest of a cloud is filled up with those right before it.
                expected = order[start : start + 8] if start + 8 <= size else order[-8:]
                assert patch_of_entry[int(patches.answers[row])] == tuple(expected)


def test_larger_voxels_equal_a_loop():
    coords = random_coords([200, 100], 14)
    codes = curve_codes(coords, tuple(CURVES))
    larger, larger_codes, parent = coarsen(coords, codes)
    expected = {(b, x // 2, y // 2, z // 2) for b, x, y, z in coords.tolist()}
    assert sorted(map(tuple, larger.tolist())) == sorted(expected)
    for (b, *cell), row in zip(coords.tolist(), parent.tolist()):
        assert larger[row].tolist() == [b, *(axis // 2 for axis in cell)]
    assert torch.equal(larger_codes[:, parent], codes >> 3)
    assert torch.equal(larger_codes[0], larger_codes[0].sort().values)
