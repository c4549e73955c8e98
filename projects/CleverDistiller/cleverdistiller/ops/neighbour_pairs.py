"""Neighbour tables of sparse convolutions in plain torch, exact for grids of any size.

spconv's CPU tables count cells in int32: on a grid with more than 2^31 cells (two nuScenes sweeps at 0.05 m)
distant cells are taken for neighbours. Its CUDA tables switch to int64 there; these do the same for the CPU.
Its hash table also leaves the processor's cache: near 80,000 voxels, twice the voxels take up to four times as long.
Sorted keys take half its time there, and twice for twice the voxels (benchmarks/scaling.py).
"""

import torch
from torch import Tensor


def submanifold_pairs(coords: Tensor, kernel_size: list[int]) -> tuple[Tensor, Tensor]:
    """Which voxels see each other through which tap, without the centre tap.

    Args:
        coords (Tensor): (M, 4) int32, batch row and cell.
        kernel_size (list[int]): Three odd sizes.

    Returns:
        tuple[Tensor, Tensor]: ``pairs`` (2, T, M) int32, input and output rows of each of the T taps, -1 beyond
        its count; ``count`` (T,) int32. spconv's own layout.
    """
    reach = torch.tensor([size // 2 for size in kernel_size])
    cells = coords.long()
    cells[:, 1:] += reach  # the border is reach cells wide, so no offset leaves its row
    extent = cells[:, 1:].amax(0) + 1 + reach
    strides = torch.tensor([int(extent.prod()), int(extent[1] * extent[2]), int(extent[2]), 1])
    # In the order of their keys, so that a search walks through memory instead of jumping in it.
    key, order = (cells @ strides).sort()
    order = order.int()
    key_or_end = torch.cat([key, key.new_full((1,), -1)])
    taps = torch.cartesian_prod(*(torch.arange(size) for size in kernel_size)) - reach  # (T, 3)
    pairs = torch.full((2, len(taps), len(coords)), -1, dtype=torch.int32)
    count = torch.zeros(len(taps), dtype=torch.int32)
    offsets = (taps @ strides[1:]).tolist()
    slot, seen = torch.arange(len(key)), torch.ones(len(key), dtype=torch.bool)  # of the centre: each voxel sees itself
    for tap in range(len(taps) // 2 + 1, len(taps)):
        wanted = key + offsets[tap]
        # The next cell of a column needs no search: it lies past the last one's key, if that was there.
        in_column = offsets[tap] == offsets[tap - 1] + 1
        slot = slot + seen if in_column else torch.searchsorted(key, wanted)
        seen = key_or_end[slot] == wanted
        found = torch.nonzero(seen)[:, 0]
        inputs, outputs = order[slot[found]], order[found]
        # Taps lie in order, so the one opposite across the centre has the same pairs the other way round.
        for each, ends in ((tap, (inputs, outputs)), (len(taps) - 1 - tap, (outputs, inputs))):
            pairs[:, each, : len(found)] = torch.stack(ends)
            count[each] = len(found)
    return pairs, count


def strided_pairs(coords: Tensor, stride: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Which coarse cell each voxel falls into, for kernels as large as their stride.

    Args:
        coords (Tensor): (M, 4) int32, batch row and cell.
        stride (list[int]): Three sizes.

    Returns:
        tuple[Tensor, Tensor, Tensor]: ``coarse`` (K, 4) int32 cells, and ``pairs`` and ``count`` as in
        :func:`submanifold_pairs`.
    """
    step = torch.tensor(stride)
    coarse_of = coords.clone()
    coarse_of[:, 1:] = coords[:, 1:] // step.int()
    coarse, row = torch.unique(coarse_of, dim=0, return_inverse=True)
    within = coords[:, 1:].long() % step
    tap_of = (within[:, 0] * stride[1] + within[:, 1]) * stride[2] + within[:, 2]
    taps = int(step.prod())
    pairs = torch.full((2, taps, len(coords)), -1, dtype=torch.int32)
    count = torch.bincount(tap_of, minlength=taps).int()
    for tap in range(taps):
        inputs = torch.nonzero(tap_of == tap)[:, 0]
        pairs[0, tap, : len(inputs)] = inputs.int()
        pairs[1, tap, : len(inputs)] = row[inputs].int()
    return coarse.contiguous(), pairs, count
