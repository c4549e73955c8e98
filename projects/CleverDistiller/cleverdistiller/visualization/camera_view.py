"""A picture and where its camera was."""

from dataclasses import dataclass

import numpy as np

from cleverdistiller.errors import InputError


@dataclass(frozen=True)
class CameraView:
    """One camera's picture of a frame; a pinhole camera, its distortion taken out.

    Args:
        name (str): As the dataset spells it.
        rgb (np.ndarray): (H, W, 3) uint8.
        cam2img (np.ndarray): (3, 3) intrinsics in pixels.
        lidar2cam (np.ndarray): (4, 4) from the frame of the points (at the sweep's time) to the camera's (x right,
            y down, z ahead, at the shutter's time).

    Raises:
        InputError: If an array has another shape.
    """

    name: str
    rgb: np.ndarray
    cam2img: np.ndarray
    lidar2cam: np.ndarray

    def __post_init__(self) -> None:
        shapes = self.rgb.shape[2:], self.cam2img.shape, self.lidar2cam.shape
        if shapes != ((3,), (3, 3), (4, 4)) or self.rgb.dtype != np.uint8:
            raise InputError(
                f'{self.name} with an image {self.rgb.shape} {self.rgb.dtype}, cam2img {self.cam2img.shape}, '
                f'lidar2cam {self.lidar2cam.shape}',
                'an image (H, W, 3) uint8, cam2img (3, 3), lidar2cam (4, 4)',
                'check the reader of this format',
            )
