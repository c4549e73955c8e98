"""What Point Transformer V3 is made of: blocks, and the ways down and up between levels."""

from types import ModuleType

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from cleverdistiller.models.students._serialized_attention import SerializedAttention, SerializedLevel
from cleverdistiller.ops.voxelize import gather_rows

NORM = dict(eps=1e-3, momentum=0.01)  # of BatchNorm, as Pointcept


class Block(nn.Module):
    """Where a voxel lies, then attention, then an MLP, each added to the features (pre-norm).

    Args:
        lib (ModuleType): Sparse-convolution library.
        channels (int): C.
        num_heads (int): Of the attention.
        mlp_ratio (float): Hidden over outer width of the MLP.
        drop_path (float): Share of voxels that skip attention or MLP in training.
        curve (int): Which of the level's curves the attention follows.
        indice_key (str): Shared by all blocks of a level, in encoder and decoder: one neighbour table.
    """

    def __init__(
        self,
        lib: ModuleType,
        channels: int,
        num_heads: int,
        mlp_ratio: float,
        drop_path: float,
        curve: int,
        indice_key: str,
    ) -> None:
        super().__init__()
        # Conditional positional encoding. The bias is no part of the convolution: spconv's own is refused on a CPU in
        # eval mode.
        self.cpe_conv = lib.SubMConv3d(channels, channels, 3, padding=1, bias=False, indice_key=indice_key)
        self.cpe_bias = nn.Parameter(torch.zeros(channels))
        self.cpe = nn.Sequential(nn.Linear(channels, channels), nn.LayerNorm(channels))
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = SerializedAttention(channels, num_heads, curve)
        hidden = int(channels * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))
        self.drop_path = DropPath(drop_path)

    def forward(self, x, level: SerializedLevel, position_rows: Tensor | None = None):
        """A sparse tensor of the level's M voxels to another.

        ``position_rows``: (M, C), what the positional convolution reads in the place of the features.
        """
        # The sum stays float32 under autocast, which spconv's eval path asks for: it casts no features to its weight.
        rows = x.features.float()
        x = self.cpe_conv(x.replace_feature(rows if position_rows is None else position_rows.float()))
        rows = rows + self.cpe(x.features + self.cpe_bias)
        rows = rows + self.drop_path(self.attention(self.norm1(rows), level))
        rows = rows + self.drop_path(self.mlp(self.norm2(rows)))
        return x.replace_feature(rows)


class GridPooling(nn.Module):
    """To voxels of twice the size: project, take the maximum of the children, BatchNorm, GELU."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(c_in, c_out)
        self.norm = nn.Sequential(nn.BatchNorm1d(c_out, **NORM), nn.GELU())

    def forward(self, features: Tensor, parent: Tensor, count: int) -> Tensor:
        """(M, c_in) and the (M,) rows of their parents to (count, c_out)."""
        rows = self.proj(features)
        index = parent[:, None].expand_as(rows)
        # Not include_self=False: it would share the gradient with what it leaves out where the two are equal.
        lowest = rows.new_full((count, rows.shape[1]), -torch.inf)
        pooled = lowest.scatter_reduce(0, index, rows, 'amax')
        return self.norm(pooled)


class GridUnpooling(nn.Module):
    """To voxels of half the size: each child's skip feature plus its parent's, both projected, BatchNorm, GELU."""

    def __init__(self, c_in: int, c_skip: int, c_out: int) -> None:
        super().__init__()
        self.proj, self.proj_skip = (
            nn.Sequential(nn.Linear(width, c_out), nn.BatchNorm1d(c_out, **NORM), nn.GELU()) for width in (c_in, c_skip)
        )

    def forward(self, features: Tensor, skip: Tensor, parent: Tensor) -> tuple[Tensor, Tensor]:
        """(R, c_in) parents and (M, c_skip) children with the (M,) rows of their parents to (M, c_out).

        The second tensor, (M, c_out), is the projected skip alone.
        """
        own = self.proj_skip(skip)
        return own + gather_rows(self.proj(features), parent), own
