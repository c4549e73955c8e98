"""Attention of Point Transformer V3 within patches along a space-filling curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cleverdistiller.ops.serialization import Patches, coarsen, curve_codes, cut_into_patches
from cleverdistiller.ops.voxelize import count_rows, gather_rows


@dataclass(frozen=True)
class SerializedLevel:
    """The voxels of one level of the network along several curves.

    Args:
        coords (Tensor): (M, 4) int32, batch row and cell.
        codes (Tensor): (O, M) int64, see :func:`curve_codes`.
        patches (list[Patches]): Of each curve, in the order in which the blocks take them.
        spatial_shape (tuple[int, int, int]): Cells of the grid along x, y and z.
        batch_size (int): Number of clouds.
        patch_size (int): Voxels of a full patch.
    """

    coords: Tensor
    codes: Tensor
    patches: list[Patches]
    spatial_shape: tuple[int, int, int]
    batch_size: int
    patch_size: int

    @classmethod
    def of(
        cls, coords: Tensor, curves: Sequence[str], batch_size: int, patch_size: int, shuffle: bool
    ) -> SerializedLevel:
        """The first level; ``shuffle`` draws in which order the blocks take the curves.

        Raises:
            InputError: See :func:`curve_codes`.
        """
        codes = curve_codes(coords, curves)
        shape = tuple((coords[:, 1:].amax(0) + 1).tolist())
        return cls._cut(coords, codes, shape, batch_size, patch_size, shuffle)

    def coarser(self, shuffle: bool) -> tuple[SerializedLevel, Tensor]:
        """The level of voxels of twice the size, and (M,) int64, the row there of each voxel here."""
        coords, codes, parent = coarsen(self.coords, self.codes)
        shape = tuple((cells + 1) // 2 for cells in self.spatial_shape)
        return self._cut(coords, codes, shape, self.batch_size, self.patch_size, shuffle), parent

    @classmethod
    def _cut(cls, coords, codes, spatial_shape, batch_size, patch_size, shuffle) -> SerializedLevel:
        if shuffle:
            codes = codes[torch.randperm(len(codes), device=codes.device)]
        cloud_sizes = count_rows(coords[:, 0].long(), batch_size).tolist()
        patches = cut_into_patches(codes, cloud_sizes, patch_size)
        return cls(coords, codes, patches, spatial_shape, batch_size, patch_size)


def patch_attention(qkv: Tensor, patches: Patches, num_heads: int) -> Tensor:
    """Softmax attention of each voxel to all voxels of its patch.

    Args:
        qkv (Tensor): (M, 3 C), queries, keys and values.
        patches (Patches): Of the M voxels.
        num_heads (int): Divides C.

    Returns:
        Tensor: (M, C).
    """
    attended = []
    for rows in patches.rows:  # (T, K)
        entries = gather_rows(qkv, rows.flatten()).view(*rows.shape, 3, num_heads, -1)  # (T, K, 3, H, C / H)
        query, key, value = entries.permute(2, 0, 3, 1, 4)  # (T, H, K, C / H) each
        out = F.scaled_dot_product_attention(query, key, value)
        attended.append(out.transpose(1, 2).flatten(2).flatten(0, 1))  # (T K, C)
    return gather_rows(torch.cat(attended), patches.answers)


class SerializedAttention(nn.Module):
    """Multi-head :func:`patch_attention` along one of a level's curves.

    Args:
        channels (int): C.
        num_heads (int): Divides C.
        curve (int): Which of the level's patches.
    """

    def __init__(self, channels: int, num_heads: int, curve: int) -> None:
        super().__init__()
        self.num_heads, self.curve = num_heads, curve
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, features: Tensor, level: SerializedLevel) -> Tensor:
        """(M, C) to (M, C)."""
        return self.proj(patch_attention(self.qkv(features), level.patches[self.curve], self.num_heads))
