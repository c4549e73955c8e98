"""A made-up root of KITTI's object detection benchmark: boxes with points inside, and calibrations of the real car."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cleverdistiller.simulation.sensors.rigs import KITTI_R0_RECT, KITTI_VELO_TO_CAM
from cleverdistiller.simulation.writers.kitti_files import IMU_TO_VELO, LIDAR2RECT, PROJECTIONS, write_calibration

SIZES_LWH_M = dict(Car=(3.9, 1.6, 1.5), Pedestrian=(0.8, 0.6, 1.7), Cyclist=(1.8, 0.6, 1.7), Van=(5.0, 1.9, 2.2))
DONT_CARE = 'DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10'
ALL = ('Car', 'Pedestrian', 'Cyclist')
SPLITS = dict(train={'000003': ALL, '000010': ('Van', 'Car', 'Car'), '000011': ()}, val={'000004': ALL})
TEST_FRAME = '000000'


def write_kitti_root(root: Path, splits: Mapping[str, Mapping[str, Sequence[str]]] = SPLITS) -> Path:
    """Write frames with objects of the named classes, and the lists of each split; ``test`` always has one frame."""
    for frame, names in [each for frames in splits.values() for each in frames.items()]:
        _write_frame(root / 'training', frame, names)
    _write_frame(root / 'testing', TEST_FRAME, None)
    for split, frames in (splits | dict(test=[TEST_FRAME])).items():
        path = root / 'ImageSets' / f'{split}.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(''.join(f'{frame}\n' for frame in frames))
    return root


def _write_frame(folder: Path, frame: str, names: Sequence[str] | None) -> None:
    rng = np.random.default_rng(int(frame))
    for name in ('velodyne', 'image_2', 'label_2'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    around = rng.uniform((-60, -30, -1.7), (60, 30, 1), (2000, 3))  # half of it behind the car
    clouds, rows = [around], []
    for number, name in enumerate(names or ()):
        size, yaw = np.array(SIZES_LWH_M[name]), rng.uniform(-3, 3)
        bottom = np.array([10 + 6 * number, rng.uniform(-2, 2), -1.7])
        inside = rng.uniform(-0.45, 0.45, (30 + number, 3)) * size
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        clouds.append(inside @ turn.T + bottom + [0, 0, size[2] / 2])
        x, y, z = LIDAR2RECT[:3, :3] @ bottom + LIDAR2RECT[:3, 3]
        length, width, height = size
        rotation = (-np.pi / 2 - yaw + np.pi) % (2 * np.pi) - np.pi
        rows.append(
            f'{name} 0.00 0 0.10 500.00 150.00 560.00 200.00 {height:.2f} {width:.2f} {length:.2f} '
            f'{x:.2f} {y:.2f} {z:.2f} {rotation:.2f}'
        )
    points = np.concatenate(clouds)
    np.column_stack([points, rng.uniform(0, 1, len(points))]).astype(np.float32).tofile(
        folder / 'velodyne' / f'{frame}.bin'
    )
    Image.new('L', (1242, 375)).save(folder / 'image_2' / f'{frame}.png')
    matrices = PROJECTIONS | dict(R0_rect=KITTI_R0_RECT, Tr_velo_to_cam=KITTI_VELO_TO_CAM, Tr_imu_to_velo=IMU_TO_VELO)
    write_calibration(folder / 'calib' / f'{frame}.txt', matrices)
    if names is not None:
        rows += [DONT_CARE] if names else []
        (folder / 'label_2' / f'{frame}.txt').write_text(''.join(f'{row}\n' for row in rows))
