"""Frames of KITTI's object benchmark, from its own text files."""

from pathlib import Path

import numpy as np

from cleverdistiller.datasets.kitti_files import MATRICES, read_calibration, read_labels
from cleverdistiller.fileio import visible_paths
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.readers.files import choose, read_numbers, square
from cleverdistiller.visualization.readers.kitti_camera import view_through

_NEEDED = {name: MATRICES[name] for name in ('P2', 'R0_rect', 'Tr_velo_to_cam')}


def read(root: Path, index: int) -> FrameView:
    """Read frame ``index`` of ``training``, by number, then of ``testing``, which has no boxes.

    Raises:
        InputError: See :func:`read_frame`.
    """
    sweeps = [path for part in ('training', 'testing') for path in visible_paths(root / part / 'velodyne', '*.bin')]
    sweep = choose(sweeps, index, root)
    part, number = sweep.parent.parent, sweep.stem
    calibration = read_calibration(part / 'calib' / f'{number}.txt', _NEEDED)
    lidar2rect = square(calibration['R0_rect']) @ square(calibration['Tr_velo_to_cam'])
    boxes, names = np.zeros((0, 7)), ()
    if part.name == 'training':
        boxes, names = _read_boxes(part / 'label_2' / f'{number}.txt', np.linalg.inv(lidar2rect))
    return FrameView(
        title=f'KITTI object  {part.name}  frame {number}',
        camera_rows=((view_through(calibration['P2'], lidar2rect, part / 'image_2' / f'{number}.png'),),),
        points_lidar_m=np.ascontiguousarray(read_numbers(sweep, np.float32, 4)[:, :3]),
        labels=None,
        class_names=(),
        boxes_lidar_m=boxes,
        box_names=names,
    )


def _read_boxes(path: Path, rect2lidar: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """(M, 7) boxes in the LiDAR's frame with their types; DontCare regions have no box."""
    labels = read_labels(path)
    boxes, names = [], []
    for row in np.flatnonzero(labels.is_object):
        (height, width, length), (x, y, z), turn = (
            labels.size_hwl_m[row],
            labels.bottom_cam_m[row],
            labels.rotation_y[row],
        )
        # Given are the middle of the floor and a turn about the camera's y axis, which looks down.
        middle = rect2lidar @ (x, y - height / 2, z, 1)
        heading = rect2lidar[:3, :3] @ (np.cos(turn), 0, -np.sin(turn))
        boxes.append([*middle[:3], length, width, height, np.arctan2(heading[1], heading[0])])
        names.append(str(labels.name[row]))
    return np.array(boxes, float).reshape(-1, 7), tuple(names)
