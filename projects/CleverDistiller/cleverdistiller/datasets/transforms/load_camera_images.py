import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS
from PIL import Image

from cleverdistiller.datasets.transforms._cameras import camera_keys, draw_cameras
from cleverdistiller.datasets.transforms._doubts import Doubts
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import BROKEN_IMAGE, to_rgb
from cleverdistiller.structures import rows_and_columns

# Change it with the pixels: a cache of teacher features that was made from others is then refused.
HOW = 'Pillow, reduced JPEG decoding, antialiased bilinear'
DARK, BRIGHT = 16, 239  # all pixels up to or from here: nothing is to be seen


@TRANSFORMS.register_module()
class LoadCameraImages(BaseTransform):
    """Load the cameras at the teacher's input size, decoding JPEGs at reduced size.

    libjpeg scales by 1/2, 1/4 or 1/8 while decoding, here to the smallest size that is not below the
    wanted one; then an anti-aliased bilinear resize. The aspect ratio is not kept. Greys of 16 bits are scaled from
    0..65535; an image that is black or white all over is said once.

    Required Keys:

    - images (dict): camera -> ``img_path``, ``cam2img``, ``lidar2cam``

    Added Keys:

    - img (np.ndarray): (V, H, W, 3) uint8 RGB
    - cam2img (np.ndarray): (V, 3, 3) float64, for the *native* image
    - lidar2cam (np.ndarray): (V, 4, 4) float64
    - native_size_hw (np.ndarray): (V, 2) int64, rows and columns of the stored images
    - input_size_hw (tuple[int, int]): rows and columns of ``img``
    - img_hflip (np.ndarray): (V,) bool, whether the image was mirrored
    - camera_names (list[str])

    Args:
        size_hw (tuple[int, int]): Rows and columns of the teacher's input.
        num_cams (int | None): Draw so many cameras at random (ScaLR: 1); None takes all.
        hflip_prob (float): Probability of mirroring each image (SLidR, SuperFlow: 0.5; ScaLR: 0).

    Raises:
        InputError: If the size is not two numbers, or an image is missing, cannot be decoded, or has pixels of 32-bit
            integers or floats.
    """

    def __init__(
        self, size_hw: tuple[int, int] = (224, 448), num_cams: int | None = None, hflip_prob: float = 0.0
    ) -> None:
        self.size_hw = rows_and_columns(size_hw, 'size_hw')
        self.num_cams = num_cams
        self.hflip_prob = hflip_prob
        self._doubts = Doubts()

    def transform(self, results: dict) -> dict:
        records = results['images']
        cameras, flips = draw_cameras(list(records), self.num_cams, self.hflip_prob)
        images, sizes = zip(*(self._read(records[camera]['img_path']) for camera in cameras))
        results['img'] = np.stack([image[:, ::-1] if flip else image for image, flip in zip(images, flips)])
        results.update(camera_keys(records, cameras, flips, np.array(sizes), self.size_hw))
        return results

    @staticmethod
    def preprocessing(size_hw: tuple[int, int]) -> dict:
        """What a cache of teacher features remembers of how images were loaded."""
        return dict(images=HOW, size_hw=list(size_hw))

    def _read(self, path: str) -> tuple[np.ndarray, tuple[int, int]]:
        rows, cols = self.size_hw
        try:
            with Image.open(path) as image:
                native_size_hw = (image.height, image.width)
                image.draft('RGB', (cols, rows))
                pixels = np.asarray(to_rgb(image, path).resize((cols, rows), Image.Resampling.BILINEAR))
        except BROKEN_IMAGE as error:
            raise InputError(
                f'{path}, which cannot be decoded ({error})',
                'a whole JPEG or PNG image',
                'download or copy it again, and run tools/prepare_nuscenes.py to check all files',
            ) from error
        low, high = int(pixels.min()), int(pixels.max())
        if high <= DARK or low >= BRIGHT:
            what = 'black: values of 12 bits in 16 are to be scaled to 0..65535' if high <= DARK else 'white'
            self._doubts.tell(path, dict(plain=f'pixels of {low} to {high} out of 0..255, which is all {what}'))
        return pixels, native_size_hw

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size_hw={self.size_hw}, num_cams={self.num_cams}, hflip_prob={self.hflip_prob})'
