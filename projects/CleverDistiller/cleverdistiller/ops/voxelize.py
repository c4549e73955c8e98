"""Points to grid cells and back."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.structures import ScanInputs, VoxelGrid

MOST_STEPS = 2.0**31  # from the origin: coordinates of cells are int32
MOST_CELLS = 2.0**63  # of all clouds: each has a number of 64 bits


def gather_rows(table: Tensor, index: Tensor) -> Tensor:
    """``table[index]`` whose backward is fast and repeatable.

    Plain indexing accumulates gradients with atomic adds: other bits at every run, on CPU as on CUDA.
    ``F.embedding`` sums each row's gradients in a fixed order.

    Args:
        table (Tensor): (R, C).
        index (Tensor): (K,) int64.

    Returns:
        Tensor: (K, C).
    """
    return F.embedding(index, table)


def count_rows(index: Tensor, rows: int) -> Tensor:
    """How often each row is named, ``torch.bincount(index, minlength=rows)``, without the host waiting for a GPU.

    Args:
        index (Tensor): (K,) int64, below ``rows``.
        rows (int): R.

    Returns:
        Tensor: (R,) int64.
    """
    return index.new_zeros(rows).index_add_(0, index, torch.ones_like(index))


def voxelize(
    points: Tensor, cloud_index: Tensor, batch_size: int, voxel_size_m: float, random_representative: bool
) -> VoxelGrid:
    """Put points on a Cartesian grid, one voxel set per cloud: cell = floor(xyz / size) - min of the cloud.

    No points give no voxels.

    Args:
        points (Tensor): (N, 3 + c) float32, metres and further channels.
        cloud_index (Tensor): (N,) int64.
        batch_size (int): Number of clouds.
        voxel_size_m (float): Edge of a cell.
        random_representative (bool): True: each voxel takes the features of one of its points at random
            (training). False: of its first point.

    Returns:
        VoxelGrid: With ``coords`` in lexicographic order.

    Raises:
        InputError: If a point lies so far away that the cells between cannot be numbered in 64 bits, or is NaN. A GPU
            says so by a failed assertion: for the host to ask, it would have to wait.
    """
    if not len(points):
        nothing = cloud_index.new_zeros(0)
        return VoxelGrid(points, cloud_index.new_zeros(0, 4, dtype=torch.int32), nothing, nothing, batch_size)
    steps = torch.floor(points[:, :3].double() / voxel_size_m)
    cells = steps.long()  # (N, 3)
    lowest = cells.new_full((batch_size, 3), torch.iinfo(cells.dtype).max)
    lowest.scatter_reduce_(0, cloud_index[:, None].expand_as(cells), cells, 'amin')
    cells -= lowest[cloud_index]
    extent = cells.amax(0) + 1  # no number of Python: the host would wait for a GPU
    _refuse_overflow(steps, extent, batch_size, voxel_size_m)
    key = ((cloud_index * extent[0] + cells[:, 0]) * extent[1] + cells[:, 1]) * extent[2] + cells[:, 2]
    unique_key, point_to_voxel = torch.unique(key, return_inverse=True)  # (M,), (N,)

    count = len(points)
    order = (
        torch.randperm(count, device=points.device)
        if random_representative
        else torch.arange(count, device=points.device)
    )
    rank = torch.empty_like(order)
    rank[order] = torch.arange(count, device=points.device)
    best_rank = torch.full_like(unique_key, count).scatter_reduce(0, point_to_voxel, rank, 'amin')
    representative = order[best_rank]  # (M,)

    coords = torch.cat([cloud_index[representative, None], cells[representative]], 1).int()
    return VoxelGrid(points[representative], coords, point_to_voxel, representative, batch_size)


def _refuse_overflow(steps: Tensor, extent: Tensor, batch_size: int, voxel_size_m: float) -> None:
    # One far point would move all others into a few cells. NaN is below nothing.
    low, high = steps.aminmax()
    fits = (low > -MOST_STEPS) & (high < MOST_STEPS) & (extent.double().prod() * batch_size < MOST_CELLS)
    if fits.device.type != 'cpu':
        torch._assert_async(fits)
    elif not fits:
        raise InputError(
            f'a point {max(high, -low) * voxel_size_m:g} m away, at voxel_size_m={voxel_size_m:g}',
            f'clouds of less than 2^63 cells, with a batch of {batch_size}',
            'leave far points out (PointsRangeFilter), or correct the coordinates: metres from the sensor are expected',
        )


def parent_rows(coords: Tensor, parent_coords: Tensor) -> Tensor:
    """Which voxel of the grid of twice the size each voxel lies in.

    Args:
        coords (Tensor): (M, 4) int32, batch row and cell.
        parent_coords (Tensor): (R, 4) int32 of the coarser grid, in any order; holds every parent.

    Returns:
        Tensor: (M,) int64 into ``parent_coords``.
    """
    extent = parent_coords[:, 1:].amax(0) + 1

    def key(b: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return ((b * extent[0] + x) * extent[1] + y) * extent[2] + z

    b, *xyz = coords.long().unbind(1)
    wanted = key(b, *(axis // 2 for axis in xyz))
    ordered, order = key(*parent_coords.long().unbind(1)).sort()
    return order[torch.searchsorted(ordered, wanted)]


def devoxelize(voxel_rows: Tensor, inputs: ScanInputs) -> tuple[Tensor, ...]:
    """Give every point its voxel's row, scan by scan.

    Args:
        voxel_rows (Tensor): (M, C), one row a voxel.
        inputs (ScanInputs): The batch.

    Returns:
        tuple[Tensor, ...]: (N_scan, C) of each scan.
    """
    return gather_rows(voxel_rows, inputs.voxels.point_to_voxel).split(inputs.scan_sizes)
