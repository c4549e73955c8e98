"""KITTI's left colour camera, for every reader of its pictures."""

from pathlib import Path

import numpy as np

from cleverdistiller.visualization.camera_view import CameraView
from cleverdistiller.visualization.readers.files import read_picture


def view_through(p2: np.ndarray, lidar2rect: np.ndarray, picture: Path) -> CameraView:
    """KITTI's left colour camera.

    Args:
        p2 (np.ndarray): (3, 4) projection from the frame of camera 0: intrinsics times [I | shift].
        lidar2rect (np.ndarray): (4, 4) from the LiDAR's frame to camera 0's, rectified.
        picture (Path): The file.

    Returns:
        CameraView: With the camera's own shift in its ``lidar2cam``.
    """
    rect2cam = np.eye(4)
    rect2cam[:3, 3] = np.linalg.solve(p2[:, :3], p2[:, 3])
    return CameraView('image_2', read_picture(picture), p2[:, :3], rect2cam @ lidar2rect)
