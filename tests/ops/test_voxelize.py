import numpy as np
import pytest
import torch

from cleverdistiller.errors import InputError
from cleverdistiller.ops.voxelize import count_rows, gather_rows, voxelize


def slow_voxelize(points, cloud_index, voxel_size_m) -> dict:
    """Cell (b, x, y, z) -> rows of its points."""
    cells = [np.floor(p[:3].double().numpy() / voxel_size_m).astype(int) for p in points]
    lowest = {}
    for cell, cloud in zip(cells, cloud_index.tolist()):
        lowest[cloud] = np.minimum(lowest.get(cloud, cell), cell)
    voxels = {}
    for row, (cell, cloud) in enumerate(zip(cells, cloud_index.tolist())):
        voxels.setdefault((cloud, *(cell - lowest[cloud])), []).append(row)
    return voxels


@pytest.mark.parametrize('random', [False, True])
def test_equals_a_dictionary_of_cells(random):
    points = torch.randn(300, 4) * 2
    cloud_index = torch.randint(0, 2, (300,)) * 2  # the cloud between them is empty
    grid = voxelize(points, cloud_index, 3, 0.7, random)
    expected = slow_voxelize(points, cloud_index, 0.7)
    cells = list(map(tuple, grid.coords.tolist()))
    assert cells == sorted(expected)  # each once, in lexicographic order
    assert (points[:, :3] < 0).any() and {cell[0] for cell in cells} == {0, 2} and grid.batch_size == 3
    for voxel, cell in enumerate(cells):
        rows = expected[cell]
        assert (grid.point_to_voxel[rows] == voxel).all()
        chosen = int(grid.representative[voxel])
        assert chosen in rows if random else chosen == rows[0]
    assert torch.equal(grid.features, points[grid.representative])
    assert grid.coords.is_contiguous()


def test_every_point_of_a_voxel_speaks_sometimes():
    points = torch.rand(4, 4) * 0.1
    chosen = [int(voxelize(points, torch.zeros(4, dtype=torch.int64), 1, 1.0, True).representative) for _ in range(400)]
    assert min(np.bincount(chosen, minlength=4)) > 60


def test_gathered_rows_have_plain_indexing_s_value_and_a_repeatable_gradient():
    table = torch.randn(50, 8, requires_grad=True)
    index = torch.randint(50, (5000,))
    weight = torch.randn(5000, 8)
    assert torch.equal(gather_rows(table, index), table[index])

    def gradient(rows):
        return torch.autograd.grad((rows * weight).sum(), table)[0]

    torch.testing.assert_close(gradient(gather_rows(table, index)), gradient(table[index]), rtol=1e-4, atol=1e-4)
    assert torch.equal(gradient(gather_rows(table, index)), gradient(gather_rows(table, index)))


def test_counted_rows_equal_a_loop():
    index = torch.randint(4, (50,))
    assert count_rows(index, 6).tolist() == [sum(i == row for i in index.tolist()) for row in range(6)]
    assert count_rows(index[:0], 2).tolist() == [0, 0]


@pytest.mark.parametrize(
    'far', [[3.4e38] * 3, [3.4e38, 0, 0], [-3.4e38, 0, 0], [1e9, 0, 0], [2e5, 2e5, 2e5], [torch.nan, 0, 0]]
)
def test_a_point_too_far_to_number_the_cells_is_refused(far):
    points = torch.cat([torch.rand(400, 4) * 80, torch.tensor([[*far, 0.5]])])
    with pytest.raises(InputError, match=r'a point .* m away, at voxel_size_m=0\.05'):
        voxelize(points, torch.zeros(401, dtype=torch.int64), 1, 0.05, False)


@pytest.mark.parametrize('far', [1e4, -1e5])
def test_a_far_point_that_can_be_numbered_moves_no_other(far):
    points = torch.rand(400, 4) * 80
    with_far = torch.cat([points, torch.full((1, 4), far)])
    index = torch.zeros(401, dtype=torch.int64)
    alone, found = voxelize(points, index[1:], 1, 0.2, False), voxelize(with_far, index, 1, 0.2, False)
    assert len(found) == len(alone) + 1 == len(slow_voxelize(with_far, index, 0.2))
    lowest = found.coords[found.point_to_voxel[:400], 1:].amin(0)
    assert torch.equal(found.coords[found.point_to_voxel[:400], 1:] - lowest, alone.coords[alone.point_to_voxel, 1:])


def test_no_points_give_no_voxels():
    grid = voxelize(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 2, 0.1, True)
    assert len(grid) == 0 and grid.batch_size == 2 and grid.features.shape == (0, 4)
