"""Frames of an mmdet3d v2 info file whose boxes are in the LiDAR's frame, as nuScenes' are."""

from pathlib import Path

import numpy as np

from cleverdistiller.datasets.label_set import NUSCENES
from cleverdistiller.errors import InputError, listed
from cleverdistiller.fileio import visible_paths
from cleverdistiller.plain_pickle import read_plain_pickle
from cleverdistiller.visualization.ahead_yaw import ahead_yaw
from cleverdistiller.visualization.camera_view import CameraView
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.readers.files import choose, existing, read_numbers, read_picture

ROWS = (('CAM_FRONT_LEFT', 'CAM_FRONT', 'CAM_FRONT_RIGHT'), ('CAM_BACK_LEFT', 'CAM_BACK', 'CAM_BACK_RIGHT'))
# By mmdet3d's name of the dataset: boxes in the camera's frame, or other labels than nuScenes'.
OWN_READER = ('kitti', 'waymo', 'semantickitti')


def read(root: Path, index: int) -> FrameView:
    """Read frame ``index`` of the info file ``root``, or of the only one in the folder ``root``.

    Raises:
        InputError: See :func:`read_frame`; also for info files of KITTI, SemanticKITTI and Waymo.
    """
    path, info = _open_info(root)
    meta = info.get('metainfo', {})
    dataset = str(meta.get('dataset', meta.get('DATASET', 'unknown dataset')))
    if dataset.lower() in OWN_READER:
        raise InputError(
            f'{path} of {dataset}',
            "an info file with boxes in the LiDAR's frame and labels as nuScenes' are",
            f"give the benchmark's own folder with --format {dataset.lower()}",
        )
    record = choose(info['data_list'], index, path)
    names = {number: name for name, number in meta.get('categories', {}).items()}
    instances = [instance for instance in record.get('instances', ()) if 'bbox_3d' in instance]
    boxes = np.array([instance['bbox_3d'] for instance in instances], float).reshape(-1, 7)
    box_names = [names.get(instance['bbox_label_3d'], 'other') for instance in instances]
    title = f'{dataset} {meta.get("version", "")} info {path.name}  frame {index}  {record.get("token", "")}'
    return view_of_record(path.parent, record, title, boxes, box_names)


def view_of_record(root: Path, record: dict, title: str, boxes_lidar_m: np.ndarray, box_names: list[str]) -> FrameView:
    """Open the files of one record of a v2 info file.

    Args:
        root (Path): What its paths are relative to. A bare file name is also looked for where nuScenes keeps it.
        record (dict): A row of ``data_list``.
        title (str): Of the frame.
        boxes_lidar_m (np.ndarray): (M, 7), see :class:`FrameView`.
        box_names (list[str]): M types.

    Returns:
        FrameView: The frame.

    Raises:
        InputError: If a file is missing or damaged.
    """
    lidar = record['lidar_points']
    points = read_numbers(_find(root, lidar['lidar_path'], 'samples/LIDAR_TOP'), np.float32, lidar['num_pts_feats'])
    labels = None
    if record.get('pts_semantic_mask_path'):
        mask = _find(root, record['pts_semantic_mask_path'], 'lidarseg/*')
        labels = NUSCENES.decode(read_numbers(mask, np.uint8, 1)[:, 0], unlabelled=-1)
    cameras = {
        name: CameraView(
            name,
            read_picture(_find(root, image['img_path'], f'samples/{name}')),
            np.array(image['cam2img'], float)[:3, :3],
            np.array(image['lidar2cam'], float),
        )
        for name, image in record.get('images', {}).items()
        if image.get('img_path')
    }
    return FrameView(
        title=title,
        camera_rows=_rows(cameras),
        points_lidar_m=np.ascontiguousarray(points[:, :3]),
        labels=labels,
        class_names=NUSCENES.names,
        boxes_lidar_m=boxes_lidar_m,
        box_names=tuple(box_names),
        ahead_yaw=ahead_yaw(lidar),
    )


def _rows(cameras: dict[str, CameraView]) -> tuple[tuple[CameraView, ...], ...]:
    """nuScenes' cameras where they look, any others in rows of three."""
    if cameras.keys() == {name for row in ROWS for name in row}:
        return tuple(tuple(cameras[name] for name in row) for row in ROWS)
    views = tuple(cameras.values())
    return tuple(views[first : first + 3] for first in range(0, len(views), 3))


def _open_info(root: Path) -> tuple[Path, dict]:
    paths = [root] if root.suffix == '.pkl' else visible_paths(root, '*.pkl')
    infos = {}
    for path in paths:
        content = read_plain_pickle(existing(path), 'an mmdet3d v2 info file', 'make it again')
        if isinstance(content, dict) and 'data_list' in content:  # not a ground-truth database
            infos[path] = content
    if len(infos) != 1:
        raise InputError(
            f'{root} with {len(infos)} info files: {listed([path.name for path in infos])}',
            'one mmdet3d v2 info file (a dict with data_list)',
            'name one info file as ROOT',
        )
    return infos.popitem()


def _find(root: Path, name: str, folder: str) -> Path:
    """``name`` below ``root``, or below a ``folder`` of it (a pattern) where info files leave the folder out."""
    places = [root / name, *(place / name for place in visible_paths(root, folder))]
    return next((place for place in places if place.is_file()), None) or existing(places[0])
