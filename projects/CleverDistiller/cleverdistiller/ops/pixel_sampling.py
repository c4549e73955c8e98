"""Image features at chosen pixels, without ever making the dense upsampled map."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_pixel_features(
    patch_features: Tensor,
    image_index: Tensor,
    uv_px: Tensor,
    input_size_hw: tuple[int, int],
    align_corners: bool = True,
) -> Tensor:
    """Bilinear value of a patch map at single pixels.

    Equals ``F.interpolate(patch_features, input_size_hw, mode='bilinear', align_corners=...)`` followed by
    a lookup at whole pixels, and extends it to fractional ones. Four rows are blended per pixel by one
    ``embedding_bag``, so cost and memory grow with P only (benchmarks/pixel_sampling.py).

    Args:
        patch_features (Tensor): (V, D, h, w).
        image_index (Tensor): (P,) int64, row of the image.
        uv_px (Tensor): (P, 2) float, column and row in the network input.
        input_size_hw (tuple[int, int]): Rows and columns of the network input.
        align_corners (bool): True as ScaLR: the outermost patch centres lie on the outermost pixels
            (up to 6.5 px off at the border). False puts patch centres where they are; border values repeat.

    Returns:
        Tensor: (P, D) float32.
    """
    num_images, width_d, rows, cols = patch_features.shape
    axes = zip(uv_px.unbind(1), (cols, rows), reversed(input_size_hw))
    position = torch.stack([_position_in_patches(*axis, align_corners) for axis in axes], 1)  # (P, 2)
    low = position.floor()
    fraction = position - low
    low = low.long()
    high = torch.stack([(low[:, 0] + 1).clamp(max=cols - 1), (low[:, 1] + 1).clamp(max=rows - 1)], 1)

    corner_cols = torch.stack([low[:, 0], high[:, 0], low[:, 0], high[:, 0]], 1)  # (P, 4)
    corner_rows = torch.stack([low[:, 1], low[:, 1], high[:, 1], high[:, 1]], 1)
    fx, fy = fraction.unbind(1)
    weights = torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], 1)
    table = patch_features.permute(0, 2, 3, 1).reshape(num_images * rows * cols, width_d).float()
    corners = (image_index[:, None] * rows + corner_rows) * cols + corner_cols
    return F.embedding_bag(corners, table, per_sample_weights=weights.to(table.dtype), mode='sum')


def _position_in_patches(px: Tensor, patches: int, pixels: int, align_corners: bool) -> Tensor:
    """Where pixels (P,) lie on an axis whose unit is one patch and whose zero the first one's centre; borders repeat.

    Sizes stay numbers of Python: as tensors they would be copied to a GPU, for which the host waits.
    """
    position = px * ((patches - 1) / (pixels - 1)) if align_corners else (px + 0.5) * (patches / pixels) - 0.5
    return position.clamp(0, patches - 1)
