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
    patches_wh = uv_px.new_tensor([cols, rows])
    input_wh = uv_px.new_tensor([input_size_hw[1], input_size_hw[0]])
    if align_corners:
        position = uv_px * ((patches_wh - 1) / (input_wh - 1))
    else:
        position = (uv_px + 0.5) * (patches_wh / input_wh) - 0.5
    position = torch.minimum(position.clamp(min=0), patches_wh - 1)  # (P, 2) in patches, border repeats
    low = position.floor()
    high = torch.minimum(low + 1, patches_wh - 1).long()
    fraction = position - low
    low = low.long()

    corner_cols = torch.stack([low[:, 0], high[:, 0], low[:, 0], high[:, 0]], 1)  # (P, 4)
    corner_rows = torch.stack([low[:, 1], low[:, 1], high[:, 1], high[:, 1]], 1)
    fx, fy = fraction.unbind(1)
    weights = torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], 1)
    table = patch_features.permute(0, 2, 3, 1).reshape(num_images * rows * cols, width_d).float()
    corners = (image_index[:, None] * rows + corner_rows) * cols + corner_cols
    return F.embedding_bag(corners, table, per_sample_weights=weights.to(table.dtype), mode='sum')
