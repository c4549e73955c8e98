"""Voxels in the order of space-filling curves, and the patches of neighbours on a curve that attend to each other.

From Point Transformer V3 (Wu et al., arXiv 2312.10035, sections 4.1 and 4.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cleverdistiller.errors import InputError

CURVE_DEPTH = 16  # bits of a cell on each axis: three axes and the batch row share one int64


def z_order_code(cells: Tensor) -> Tensor:
    """Place of each cell on the Z-order (Morton) curve: the bits of x, y and z interleaved, x foremost.

    Args:
        cells (Tensor): (M, 3) int64, 0 to 2^16 - 1.

    Returns:
        Tensor: (M,) int64. Three bits fewer are the code of the cell of twice the size.
    """
    x, y, z = (_spread_bits(axis) for axis in cells.unbind(1))
    return x << 2 | y << 1 | z


def hilbert_code(cells: Tensor, depth: int = CURVE_DEPTH) -> Tensor:
    """Place of each cell on the Hilbert curve, where consecutive places are neighbouring cells.

    By the transform of J. Skilling, "Programming the Hilbert curve" (2004).

    Args:
        cells (Tensor): (M, 3) int64, 0 to 2^depth - 1.
        depth (int): The curve fills the cube of 2^depth cells; at most 16.

    Returns:
        Tensor: (M,) int64. Three bits fewer are the code of the cell of twice the size, at ``depth - 1``.
    """
    axes = list(cells.unbind(1))
    # From the whole cube down, undo how the curve was turned inside each octant.
    for bit in range(depth - 1, 0, -1):
        below = (1 << bit) - 1
        for i in range(3):
            upper_half = axes[i] >> bit & 1
            mirror = below * upper_half
            exchange = (axes[0] ^ axes[i]) & below * (1 - upper_half)
            axes[0] = axes[0] ^ mirror ^ exchange
            if i > 0:
                axes[i] = axes[i] ^ exchange
    # What is left is a Gray code over the axes and, through them, over the bits.
    axes[1] = axes[1] ^ axes[0]
    axes[2] = axes[2] ^ axes[1]
    flips = torch.zeros_like(axes[0])
    for bit in range(depth - 1, 0, -1):
        flips = flips ^ (axes[2] >> bit & 1) * ((1 << bit) - 1)
    return z_order_code(torch.stack([axis ^ flips for axis in axes], 1))


def _transposed(cells: Tensor) -> Tensor:
    """Exchange x and y; a list of columns would be copied to a GPU, for which the host waits."""
    x, y, z = cells.unbind(1)
    return torch.stack([y, x, z], 1)


CURVES = {
    'z': z_order_code,
    'z-trans': lambda cells: z_order_code(_transposed(cells)),
    'hilbert': hilbert_code,
    'hilbert-trans': lambda cells: hilbert_code(_transposed(cells)),
}


def curve_codes(coords: Tensor, curves: Sequence[str]) -> Tensor:
    """Sort keys of voxels: the batch row, then the place on a curve.

    The curves fill 2^16 cells a side whatever the batch holds, so a cloud's codes do not depend on its company.

    Args:
        coords (Tensor): (M, 4) int32, batch row and cell.
        curves (Sequence[str]): O names out of :data:`CURVES`.

    Returns:
        Tensor: (O, M) int64.

    Raises:
        InputError: If a cell lies outside the cube.
    """
    lowest, highest = torch.stack(coords[:, 1:].aminmax()).tolist()  # together: the host waits for a GPU once
    if lowest < 0 or highest >= 1 << CURVE_DEPTH:
        raise InputError(
            f'voxels from cell {lowest} to cell {highest}',
            f'cells from 0 to {(1 << CURVE_DEPTH) - 1}, the length of a space-filling curve of 16 bits an axis',
            'drop points that are not finite (NaN, inf) and crop far outliers, or take larger voxels',
        )
    batch, cells = coords[:, 0].long(), coords[:, 1:].long()
    return torch.stack([batch << 3 * CURVE_DEPTH | CURVES[curve](cells) for curve in curves])


@dataclass(frozen=True)
class Patches:
    """Which voxels attend to each other.

    Args:
        rows (tuple[Tensor, ...]): (T, K) int64 each, T patches of K rows: first all of full length, then each cloud
            that is shorter than that.
        answers (Tensor): (M,) int64, which of all patches' entries, in this order, is a voxel's own: a voxel lies in
            a second patch where that one is filled up with it.
    """

    rows: tuple[Tensor, ...]
    answers: Tensor


def cut_into_patches(codes: Tensor, cloud_sizes: Sequence[int], patch_size: int) -> list[Patches]:
    """Cut each cloud, in the order of each curve, into patches of consecutive voxels.

    A cloud's last patch is filled up from the one before, as in Pointcept; a cloud shorter than a patch is a patch of
    its own length. No patch holds voxels of two clouds.

    Args:
        codes (Tensor): (O, M) int64 of :func:`curve_codes`.
        cloud_sizes (Sequence[int]): Voxels of each cloud; sums to M.
        patch_size (int): Voxels of a full patch.

    Returns:
        list[Patches]: One a curve.
    """
    places, answers = _patches_of_sorted(cloud_sizes, patch_size, codes.device)
    found = []
    for order in codes.argsort(1):
        place_of = torch.empty_like(order)
        place_of[order] = torch.arange(len(order), device=order.device)
        found.append(Patches(tuple(order[group] for group in places), answers[place_of]))
    return found


def coarsen(coords: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Join the voxels of each cell of twice the size.

    Args:
        coords (Tensor): (M, 4) int32.
        codes (Tensor): (O, M) int64 of :func:`curve_codes`.

    Returns:
        tuple[Tensor, Tensor, Tensor]: ``coords`` (R, 4) and ``codes`` (O, R) of the larger voxels, in the order of the
        first curve, and ``parent`` (M,) int64, the larger voxel of each.
    """
    codes = codes >> 3
    code, parent = codes[0].unique(return_inverse=True)
    # All children write the same.
    parent_codes = codes.new_empty(len(codes), len(code))
    parent_codes[:, parent] = codes
    parent_coords = coords.new_empty(len(code), 4)
    parent_coords[parent] = torch.cat([coords[:, :1], coords[:, 1:] >> 1], 1)
    return parent_coords, parent_codes, parent


def _spread_bits(value: Tensor) -> Tensor:
    """Bit i to bit 3 i, for 16 bits."""
    value = (value | value << 16) & 0xFF0000FF
    value = (value | value << 8) & 0xF00F00F00F
    value = (value | value << 4) & 0xC30C30C30C3
    return (value | value << 2) & 0x249249249249


def _patches_of_sorted(
    cloud_sizes: Sequence[int], patch_size: int, device: torch.device
) -> tuple[list[Tensor], Tensor]:
    """:class:`Patches` of voxels that already lie in order."""
    full, full_own, short = [], [], []
    first = 0
    for size in cloud_sizes:
        if size >= patch_size:
            begin = torch.arange(first, first + size, patch_size, device=device)
            filled_up = begin.clamp(max=first + size - patch_size)
            places = filled_up[:, None] + torch.arange(patch_size, device=device)  # (T, K)
            full.append(places)
            full_own.append(places >= begin[:, None])
        elif size:
            short.append(torch.arange(first, first + size, device=device)[None])
        first += size
    groups = ([torch.cat(full)] if full else []) + short
    own = torch.cat([*(part.flatten() for part in full_own), *(torch.ones_like(part[0]).bool() for part in short)])
    answers = torch.empty(first, dtype=torch.int64, device=device)
    entries = own.nonzero()[:, 0]
    answers[torch.cat([group.flatten() for group in groups])[entries]] = entries  # of a mask, the host would wait again
    return groups, answers
