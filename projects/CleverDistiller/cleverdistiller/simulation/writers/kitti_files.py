"""What KITTI's object benchmark and SemanticKITTI share: one car's calibration and the files of one frame."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.simulation.frame import LidarScan
from cleverdistiller.simulation.sensors.rigs import KITTI_P2, KITTI_R0_RECT, KITTI_VELO_TO_CAM, rigid

# KITTI's calibration of 2011_09_26. Only camera 2 is simulated; the others are named because readers want four.
PROJECTIONS = {
    f'P{camera}': np.concatenate([KITTI_P2[:, :3], np.reshape(shift, (3, 1))], axis=1)
    for camera, shift in enumerate(
        [(0, 0, 0), (-387.5744, 0, 0), KITTI_P2[:, 3], (-339.5242, 2.199936, 0.002729905)],
    )
}
IMU_TO_VELO = np.array(
    [
        [0.9999976, 0.0007553071, -0.002035826, -0.8086759],
        [-0.0007854027, 0.9998898, -0.01482298, 0.3195559],
        [0.002024406, 0.01482454, 0.9998881, -0.7997231],
    ]
)
LIDAR2RECT = rigid(KITTI_R0_RECT, (0, 0, 0)) @ rigid(KITTI_VELO_TO_CAM[:, :3], tuple(KITTI_VELO_TO_CAM[:, 3]))


def write_points(path: Path, scan: LidarScan) -> None:
    """Write a scan as rows of four float32: x, y, z in metres in the LiDAR's frame, intensity in 0..1.

    Args:
        path (Path): ``.bin`` file; its folder is made.
        scan (LidarScan): N points, written in their order.
    """
    with replace_when_complete(path) as temporary:
        temporary.write_bytes(np.column_stack([scan.points_lidar_m, scan.intensity]).astype('<f4').tobytes())


def write_image(path: Path, rgb: np.ndarray) -> None:
    """Write a picture without loss.

    Args:
        path (Path): ``.png`` file; its folder is made.
        rgb (np.ndarray): (H, W, 3) uint8.
    """
    with replace_when_complete(path) as temporary:
        # Level 1 is several times as fast as the default, for files a little larger.
        Image.fromarray(rgb).save(temporary, 'PNG', compress_level=1)


def write_calibration(path: Path, matrices: Mapping[str, np.ndarray]) -> None:
    """Write named matrices, one a line, row by row.

    Args:
        path (Path): Text file; its folder is made.
        matrices (Mapping[str, np.ndarray]): Name to matrix of any shape, in the order of the lines.
    """
    lines = [f'{name}: {matrix_line(matrix, 12)}\n' for name, matrix in matrices.items()]
    with replace_when_complete(path) as temporary:
        temporary.write_text(''.join(lines))


def matrix_line(matrix: np.ndarray, decimals: int) -> str:
    """Spell a matrix's numbers row by row, in scientific notation.

    Args:
        matrix (np.ndarray): Of any shape.
        decimals (int): Digits behind the point.
    """
    return ' '.join(f'{value:.{decimals}e}' for value in np.ravel(matrix))
