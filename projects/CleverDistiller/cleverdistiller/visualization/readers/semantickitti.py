"""Sweeps of SemanticKITTI, from its own files."""

from pathlib import Path

import numpy as np

from cleverdistiller.datasets.kitti_files import read_calibration
from cleverdistiller.datasets.label_set import SEMANTIC_KITTI
from cleverdistiller.fileio import visible_paths
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.readers.files import choose, read_numbers, square
from cleverdistiller.visualization.readers.kitti_camera import view_through


def read(root: Path, index: int) -> FrameView:
    """Read sweep ``index``, sequence after sequence. Sequences without a ``labels`` folder are test ones.

    The picture is shown where KITTI's odometry images lie beside the sweeps; there are no boxes.

    Raises:
        InputError: See :func:`read_frame`.
    """
    sweep = choose(visible_paths(root / 'sequences', '*/velodyne/*.bin'), index, root)
    sequence = sweep.parent.parent
    labels = None
    if (sequence / 'labels').is_dir():
        raw = read_numbers(sequence / 'labels' / f'{sweep.stem}.label', np.uint32, 1)[:, 0]
        labels = SEMANTIC_KITTI.decode(SEMANTIC_KITTI.ids_of(raw), unlabelled=-1)
    cameras = ()
    if (sequence / 'image_2').is_dir():
        calibration = read_calibration(sequence / 'calib.txt', dict(P2=(3, 4), Tr=(3, 4)))
        picture = sequence / 'image_2' / f'{sweep.stem}.png'
        cameras = ((view_through(calibration['P2'], square(calibration['Tr']), picture),),)
    return FrameView(
        title=f'SemanticKITTI  sequence {sequence.name}  frame {sweep.stem}',
        camera_rows=cameras,
        points_lidar_m=np.ascontiguousarray(read_numbers(sweep, np.float32, 4)[:, :3]),
        labels=labels,
        class_names=SEMANTIC_KITTI.names,
        boxes_lidar_m=np.zeros((0, 7)),
        box_names=(),
    )
