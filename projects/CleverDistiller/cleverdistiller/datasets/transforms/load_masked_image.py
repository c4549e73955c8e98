import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS
from mmdet3d.structures import Det3DDataSample, PointData
from PIL import Image

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import BROKEN_IMAGE, has_sixteen_bits, to_rgb
from cleverdistiller.structures import rows_and_columns


@TRANSFORMS.register_module()
class LoadMaskedImage(BaseTransform):
    """Load an image and, for each of its patches, the share that each class has of it.

    The image is resized as :class:`LoadCameraImages` does it. The part that is shown may be drawn at random.

    Required Keys:

    - img_path, mask_path, frame_id (str)
    - num_classes (int)

    Added Keys:

    - inputs (Tensor): (3, H, W) uint8 RGB
    - data_samples (Det3DDataSample): ``gt_pts_seg.patch_share`` (h * w, K) float32, and in ``eval_ann_info`` as
      ``pts_semantic_mask`` (h * w,) the class with the largest share

    Args:
        size_hw (tuple[int, int]): Rows and columns, multiples of ``patch_px``.
        patch_px (int): Side of a patch.
        min_crop (float): Show a part of each side at least this large, drawn at random; 1 shows all.
        hflip_prob (float): Probability of mirroring.

    Raises:
        InputError: If the size is no multiple of the patch's, a file cannot be decoded, the two differ in shape, a
            class is unknown, or pixels are of another kind than :func:`to_rgb` takes, of the mask than integers.
    """

    def __init__(
        self, size_hw: tuple[int, int], patch_px: int = 14, min_crop: float = 1.0, hflip_prob: float = 0.0
    ) -> None:
        self.size_hw, self.patch_px = rows_and_columns(size_hw, 'size_hw'), patch_px
        if any(side % patch_px for side in self.size_hw):
            raise InputError(f'size_hw={self.size_hw}', f'multiples of patch_px={patch_px}', 'correct the config')
        self.min_crop, self.hflip_prob = min_crop, hflip_prob

    def transform(self, results: dict) -> dict:
        part = self._draw_part()
        flip = np.random.rand() < self.hflip_prob
        try:
            with Image.open(results['img_path']) as image, Image.open(results['mask_path']) as mask:
                if image.size != mask.size:
                    raise InputError(
                        f'{results["mask_path"]} of {mask.size} pixels for an image of {image.size}',
                        'a mask of the same size',
                        'make the set again',
                    )
                image.draft('RGB', self.size_hw[::-1])
                pixels = self._resized(to_rgb(image, results['img_path']), part, Image.Resampling.BILINEAR)
                ids = self._resized(_one_band(mask, results['mask_path']), part, Image.Resampling.NEAREST)
        except BROKEN_IMAGE as error:
            raise InputError(
                f'{results["img_path"]} or its mask, which cannot be decoded ({error})',
                'a whole JPEG and a whole PNG',
                'make the set again',
            ) from error
        if ids.max() >= results['num_classes']:
            raise InputError(
                f'{results["mask_path"]} with the id {ids.max()}',
                f'ids below {results["num_classes"]}, as classes.json has them',
                'make the set again',
            )
        if flip:
            pixels, ids = pixels[:, ::-1], ids[:, ::-1]
        shares = patch_shares(ids, self.patch_px, results['num_classes'])  # (h, w, K)
        sample = Det3DDataSample(metainfo=dict(frame_id=results['frame_id'], img_path=results['img_path']))
        sample.gt_pts_seg = PointData(patch_share=torch.from_numpy(shares).flatten(0, 1))
        sample.eval_ann_info = dict(pts_semantic_mask=shares.argmax(-1).ravel())
        return dict(inputs=torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))), data_samples=sample)

    def _draw_part(self) -> np.ndarray:
        """(4,) left, upper, right, lower bound, as shares of the whole."""
        size = np.random.uniform(self.min_crop, 1)
        low = np.random.uniform(0, 1 - size, 2)
        return np.concatenate([low, low + size])

    def _resized(self, image: Image.Image, part: np.ndarray, how: Image.Resampling) -> np.ndarray:
        box = tuple(part * np.tile(image.size, 2))
        return np.asarray(image.resize(self.size_hw[::-1], how, box=box))

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(size_hw={self.size_hw}, patch_px={self.patch_px}, min_crop={self.min_crop}, '
            f'hflip_prob={self.hflip_prob})'
        )


def _one_band(mask: Image.Image, path: str) -> Image.Image:
    if has_sixteen_bits(mask):
        return mask.convert('I')
    if mask.mode not in ('1', 'L', 'P'):
        raise InputError(
            f'{path} with pixels of mode {mask.mode}',
            'one integer of 8 or 16 bits a pixel, the id of its class',
            'save the ids themselves, not colours or floats',
        )
    return mask


def patch_shares(ids: np.ndarray, patch_px: int, num_classes: int) -> np.ndarray:
    """Count the classes of each patch.

    Args:
        ids (np.ndarray): (H, W) classes of pixels, 0..K-1; sides are multiples of ``patch_px``.
        patch_px (int): Side of a patch.
        num_classes (int): K.

    Returns:
        np.ndarray: (h, w, K) float32; each patch's add up to 1.
    """
    rows, cols = (side // patch_px for side in ids.shape)
    patch = np.arange(rows * cols).reshape(rows, cols).repeat(patch_px, 0).repeat(patch_px, 1)
    counts = np.bincount((patch * num_classes + ids).ravel(), minlength=rows * cols * num_classes)
    return (counts.reshape(rows, cols, num_classes) / patch_px**2).astype(np.float32)
