"""Keyframes of a nuScenes root, through nuscenes-devkit."""

from pathlib import Path

import numpy as np
from nuscenes.eval.detection.utils import category_to_detection_name

from cleverdistiller.datasets.nuscenes_index import frame_record, open_nuscenes
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import visible_paths
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.readers.files import choose
from cleverdistiller.visualization.readers.info import view_of_record


def read(root: Path, index: int, version: str | None = None) -> FrameView:
    """Read keyframe ``index`` in the order of the sample table; boxes are the devkit's own, in the LiDAR's frame.

    Raises:
        InputError: See :func:`read_frame`.
    """
    nusc = open_nuscenes(root, version or _only_version(root))
    sample = choose(nusc.sample, index, root)
    scene = nusc.get('scene', sample['scene_token'])
    lidar = sample['data']['LIDAR_TOP']
    boxes = nusc.get_sample_data(lidar)[1]
    rows = [[*box.center, *box.wlh[[1, 0, 2]], np.arctan2(*box.rotation_matrix[[1, 0], 0])] for box in boxes]
    record = frame_record(nusc, sample, index, max_sweeps=0)
    if 'pts_semantic_mask_path' in record:
        record['pts_semantic_mask_path'] = nusc.get('lidarseg', lidar)['filename']
    title = f'nuScenes {nusc.version}  {scene["name"]}  frame {index}  {sample["token"]}'
    return view_of_record(root, record, title, np.array(rows, float).reshape(-1, 7), [_type(box.name) for box in boxes])


def _type(category: str) -> str:
    """The detection benchmark's name of a category; its own last word for one outside the benchmark."""
    return category_to_detection_name(category) or category.rpartition('.')[2]


def _only_version(root: Path) -> str:
    versions = [path.parent.name for path in visible_paths(root, 'v1.0-*/sample.json')]
    if len(versions) != 1:
        raise InputError(f'{root} with the versions {versions}', 'one version', 'choose one with --version')
    return versions[0]
