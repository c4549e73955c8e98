"""Superpixels: SLIC segments of an image, which one a pixel lies in, and the mean of what lies in each."""

import numpy as np
import torch
import torch.nn.functional as F
from skimage.segmentation import slic
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cleverdistiller.errors import InputError
from cleverdistiller.ops.voxelize import count_rows

# Ids are bytes, so an image has rows for so many. SLidR's code leaves 150 (what it asks SLIC for) and so lets the
# last superpixels of an image fall together with the first of the next one where SLIC gives more.
MAX_SUPERPIXELS = 256


def slic_superpixels(image: np.ndarray, num_segments: int, compactness: float, sigma: float) -> np.ndarray:
    """Cut an image into connected regions of similar colour: SLIC (Achanta et al., TPAMI 2012) of scikit-image.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        num_segments (int): About so many.
        compactness (float): Weight of nearness against colour.
        sigma (float): Width of the Gaussian that smooths the image first, pixels.

    Returns:
        np.ndarray: (H, W) uint8, ids from 0 on without a gap.

    Raises:
        InputError: If there are more than ``MAX_SUPERPIXELS``.
    """
    segments = slic(image, n_segments=num_segments, compactness=compactness, sigma=sigma, start_label=0)
    count = int(segments.max()) + 1
    if count > MAX_SUPERPIXELS:
        raise InputError(
            f'{count} superpixels in an image of {image.shape[:2]} for num_segments={num_segments}',
            f'at most {MAX_SUPERPIXELS}, ids are bytes',
            'lower num_segments (half of that many is always safe), or raise compactness or sigma',
        )
    return segments.astype(np.uint8)


def resize_nearest(segments: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Give each pixel of another size the id at its centre.

    Args:
        segments (np.ndarray): (H, W).
        size_hw (tuple[int, int]): Rows and columns wanted.

    Returns:
        np.ndarray: Of that size.
    """
    rows, cols = (((np.arange(new) + 0.5) * (old / new)).astype(np.int64) for old, new in zip(segments.shape, size_hw))
    return segments[rows[:, None], cols]


def superpixel_at(superpixels: Tensor, image_index: Tensor, uv_px: Tensor) -> Tensor:
    """Find the superpixel of pixels, rounded to whole ones.

    Args:
        superpixels (Tensor): (V, H, W) uint8, ids in each image.
        image_index (Tensor): (P,) int64.
        uv_px (Tensor): (P, 2) float, column and row.

    Returns:
        Tensor: (P,) int64, row ``MAX_SUPERPIXELS * image + id`` of :func:`superpixel_means`.
    """
    rows, cols = superpixels.shape[1:]
    col, row = uv_px.round().long().unbind(1)  # the outermost half pixel rounds to beyond the border
    ids = superpixels[image_index, row.clamp(0, rows - 1), col.clamp(0, cols - 1)]
    return image_index * MAX_SUPERPIXELS + ids.long()


def group_means(rows: Tensor, group: Tensor, num_groups: int) -> Tensor:
    """Mean of the rows of each group; repeatable, where adding by index is not on CUDA.

    Args:
        rows (Tensor): (R, E) float32.
        group (Tensor): (R,) int64, 0..G-1.
        num_groups (int): G.

    Returns:
        Tensor: (G, E), 0 where a group has no row.
    """
    sizes = count_rows(group, num_groups)
    return F.embedding_bag(group.argsort(stable=True), rows, sizes.cumsum(0) - sizes, mode='mean')


def superpixel_means(patch_embeddings: Tensor, superpixels: Tensor, align_corners: bool = True) -> Tensor:
    """Mean unit embedding of each superpixel, over all its pixels (SLidR, arXiv 2203.16258).

    The patches are upsampled bilinearly and made unit vectors, both for each pixel; their mean is no unit vector.
    One image at a time is upsampled, in the backward pass once more, so that memory does not grow with V.

    Args:
        patch_embeddings (Tensor): (V, E, h, w).
        superpixels (Tensor): (V, H, W) uint8, ids in each image.
        align_corners (bool): How pixels meet patches, see ``sample_pixel_features``.

    Returns:
        Tensor: (V * MAX_SUPERPIXELS, E) float32, 0 where there is no superpixel of the id.
    """
    return torch.cat(
        [
            checkpoint(_means_in_image, *image, align_corners, use_reentrant=False, preserve_rng_state=False)
            for image in zip(patch_embeddings, superpixels)
        ]
    )


def _means_in_image(patch_embeddings: Tensor, superpixels: Tensor, align_corners: bool) -> Tensor:
    dense = F.interpolate(
        patch_embeddings[None].float(), superpixels.shape, mode='bilinear', align_corners=align_corners
    )
    pixels = F.normalize(dense, dim=1)[0].permute(1, 2, 0).flatten(0, 1)  # (H W, E)
    return group_means(pixels, superpixels.flatten().long(), MAX_SUPERPIXELS)
