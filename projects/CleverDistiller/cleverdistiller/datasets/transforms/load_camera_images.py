import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS
from PIL import Image

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import BROKEN_IMAGE


@TRANSFORMS.register_module()
class LoadCameraImages(BaseTransform):
    """Load the cameras at the teacher's input size, decoding JPEGs at reduced size.

    libjpeg scales by 1/2, 1/4 or 1/8 while decoding, here to the smallest size that is not below the
    wanted one; then an anti-aliased bilinear resize. The aspect ratio is not kept.

    Required Keys:

    - images (dict): camera -> ``img_path``, ``cam2img``, ``lidar2cam``

    Added Keys:

    - img (np.ndarray): (V, H, W, 3) uint8 RGB
    - cam2img (np.ndarray): (V, 3, 3) float64, for the *native* image
    - lidar2cam (np.ndarray): (V, 4, 4) float64
    - native_size_hw (np.ndarray): (V, 2) int64, rows and columns of the stored images
    - img_hflip (np.ndarray): (V,) bool, whether the image was mirrored
    - camera_names (list[str])

    Args:
        size_hw (tuple[int, int]): Rows and columns of the teacher's input.
        num_cams (int | None): Draw so many cameras at random (ScaLR: 1); None takes all.
        hflip_prob (float): Probability of mirroring each image (SLidR, SuperFlow: 0.5; ScaLR: 0).

    Raises:
        InputError: If an image is missing or cannot be decoded.
    """

    def __init__(
        self, size_hw: tuple[int, int] = (224, 448), num_cams: int | None = None, hflip_prob: float = 0.0
    ) -> None:
        self.size_hw = tuple(size_hw)
        self.num_cams = num_cams
        self.hflip_prob = hflip_prob

    def transform(self, results: dict) -> dict:
        cameras = list(results['images'])
        if self.num_cams is not None and self.num_cams < len(cameras):
            chosen = np.sort(np.random.permutation(len(cameras))[: self.num_cams])
            cameras = [cameras[i] for i in chosen]
        records = [results['images'][camera] for camera in cameras]
        flips = np.random.rand(len(cameras)) < self.hflip_prob
        images, sizes = zip(*(self._read(record['img_path']) for record in records))
        results['img'] = np.stack([image[:, ::-1] if flip else image for image, flip in zip(images, flips)])
        results['cam2img'] = np.stack([record['cam2img'] for record in records])
        results['lidar2cam'] = np.stack([record['lidar2cam'] for record in records])
        results['native_size_hw'] = np.array(sizes)
        results['img_hflip'] = flips
        results['camera_names'] = cameras
        return results

    def _read(self, path: str) -> tuple[np.ndarray, tuple[int, int]]:
        rows, cols = self.size_hw
        try:
            with Image.open(path) as image:
                native_size_hw = (image.height, image.width)
                image.draft('RGB', (cols, rows))
                pixels = np.asarray(image.convert('RGB').resize((cols, rows), Image.Resampling.BILINEAR))
        except BROKEN_IMAGE as error:
            raise InputError(
                f'{path}, which cannot be decoded ({error})',
                'a whole JPEG or PNG image',
                'download or copy it again, and run tools/prepare_nuscenes.py to check all files',
            ) from error
        return pixels, native_size_hw

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size_hw={self.size_hw}, num_cams={self.num_cams}, hflip_prob={self.hflip_prob})'
