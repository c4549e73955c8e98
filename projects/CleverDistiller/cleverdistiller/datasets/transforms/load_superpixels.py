import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS
from mmengine.logging import print_log

from cleverdistiller.datasets.superpixel_cache import SlicSettings, SuperpixelCache
from cleverdistiller.ops.superpixels import resize_nearest


@TRANSFORMS.register_module()
class LoadSuperpixels(BaseTransform):
    """Load the superpixels of the cameras' images, for SLidR. Comes after the images or the teacher's features.

    SLIC on the stored image, then the nearest pixel, as SLidR does it. See :class:`SuperpixelCache` for how they are
    kept; ``tools/superpixels.py`` computes them beforehand.

    Required Keys:

    - images (dict): camera -> ``img_path``
    - input_size_hw, img_hflip, camera_names

    Added Keys:

    - superpixels (np.ndarray): (V, H, W) uint8, ids in each image, at the network's input size

    Args:
        cache_dir (str): Where they are kept.
        num_segments (int): About so many superpixels an image.
        compactness (float): Weight of nearness against colour.
        sigma (float): Smoothing before, pixels of the stored image.

    Raises:
        InputError: If an image cannot be read, the folder cannot be written, or a setting makes no sense.
    """

    def __init__(self, cache_dir: str, num_segments: int = 150, compactness: float = 6.0, sigma: float = 3.0) -> None:
        self.cache = SuperpixelCache(cache_dir, SlicSettings(num_segments, compactness, sigma))
        self._told = False

    def transform(self, results: dict) -> dict:
        size_hw = results['input_size_hw']
        paths = [results['images'][camera]['img_path'] for camera in results['camera_names']]
        self._tell_once_of_missing(paths)
        superpixels = [resize_nearest(self.cache.load(path), size_hw) for path in paths]
        results['superpixels'] = np.stack(
            [ids[:, ::-1] if flip else ids for ids, flip in zip(superpixels, results['img_hflip'])]
        )
        return results

    def _tell_once_of_missing(self, paths: list[str]) -> None:
        if not self._told and not all(self.cache.path_of(path).is_file() for path in paths):
            self._told = True
            print_log(
                f'Not all superpixels are in {self.cache.folder}: they are computed now, which makes the first epoch '
                'slow (seconds an image); tools/superpixels.py computes them beforehand.',
                logger='current',
                level=30,
            )

    def __repr__(self) -> str:
        return f'{type(self).__name__}(cache_dir={str(self.cache.folder)!r}, settings={self.cache.settings})'
