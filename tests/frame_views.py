"""A made-up frame for drawing tests: one box ahead of one camera."""

import numpy as np

from cleverdistiller.visualization.camera_view import CameraView
from cleverdistiller.visualization.frame_view import FrameView
from conftest import look_along

CAM2IMG = np.array([[100.0, 0, 80], [0, 100, 45], [0, 0, 1]])


def camera(yaw: float = 0.0, size_hw: tuple[int, int] = (90, 160), name: str = 'front') -> CameraView:
    """A black picture; the camera sits at the sensor."""
    return CameraView(name, np.zeros((*size_hw, 3), np.uint8), CAM2IMG, look_along(yaw))


def made_up_view(**changes) -> FrameView:
    """Three points, of which the last has no label, and a car 10 m ahead."""
    fields = dict(
        title='made up',
        camera_rows=((camera(),),),
        points_lidar_m=np.array([[10.0, 0, 0], [20, 5, 1], [-8, -4, -1]], np.float32),
        labels=np.array([1, 0, -1]),
        class_names=('vegetation', 'car', 'sidewalk'),
        boxes_lidar_m=np.array([[10.0, 0, 0, 4, 2, 1.5, 0]]),
        box_names=('car',),
    )
    return FrameView(**{**fields, **changes})
