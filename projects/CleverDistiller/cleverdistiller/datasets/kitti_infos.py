"""mmdet3d's info records, cropped scans and ground-truth database of KITTI's object detection benchmark.

Records are laid out by mmdet3d's own converter, from what :mod:`kitti_files` read: its parser stops at a second blank
without the file's name. What its ``create_data.py`` breaks is done here, too: it reads whole images for their size,
sleeps, names the database's objects after places in a list instead of frames, and leaves half of its files behind when
it fails.
"""

import importlib.util
import io
import math
import pickle
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import mmdet3d
import numpy as np
from mmdet3d.structures import Box3DMode, CameraInstance3DBoxes
from mmdet3d.structures.ops import box_np_ops
from PIL import Image

from cleverdistiller.datasets.kitti_files import (
    DONT_CARE,
    KittiLabels,
    files_of,
    read_calibration,
    read_labels,
)
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.plain_pickle import read_plain_pickle

DATABASE = 'kitti_gt_database'


def frame_info(root: Path, split: str, frame: str, with_boxes_px: bool = True) -> dict:
    """mmdet3d's record of a frame, info version 1, without the number of points in its boxes.

    Args:
        root (Path): Folder of the benchmark.
        split (str): ``train``, ``val`` or ``test``.
        frame (str): Six digits.
        with_boxes_px (bool): False for a set without boxes in the image: an object's difficulty is then that of its
            occlusion and truncation alone.

    Raises:
        InputError: If the calibration or the labels cannot be read.
    """
    files = files_of(split, frame)
    with Image.open(root / files['image_2']) as image:
        shape = np.array(image.size[::-1], dtype=np.int32)
    matrices = read_calibration(root / files['calib'])
    info = dict(
        image=dict(image_idx=int(frame), image_path=files['image_2'], image_shape=shape),
        point_cloud=dict(num_features=4, velodyne_path=files['velodyne']),
        calib={name: _homogeneous(matrix) for name, matrix in matrices.items()},
    )
    if split != 'test':
        info['annos'] = _annotations(read_labels(root / files['label_2']), with_boxes_px)
    return info


def _annotations(labels: KittiLabels, with_boxes_px: bool) -> dict:
    count, objects = len(labels.name), labels.is_object
    annos = dict(
        name=labels.name,
        truncated=labels.truncated,
        occluded=labels.occluded,
        alpha=labels.alpha,
        bbox=labels.box_px,
        dimensions=labels.size_hwl_m[:, [2, 0, 1]],
        location=labels.bottom_cam_m,
        rotation_y=labels.rotation_y,
        score=np.zeros(count),
        index=np.where(objects, np.arange(count), -1).astype(np.int32),
        group_ids=np.arange(count, dtype=np.int32),
    )
    ranked = annos
    if not with_boxes_px:
        ranked = dict(annos, bbox=np.where(objects[:, None], [0.0, 0.0, math.inf, math.inf], labels.box_px))
    _converter('kitti_data_utils').add_difficulty_to_annos(dict(annos=ranked))
    return dict(annos, difficulty=ranked['difficulty'])


def _homogeneous(matrix: np.ndarray) -> np.ndarray:
    """(4, 4) from (3, 3) or (3, 4)."""
    square = np.eye(4)
    square[: matrix.shape[0], : matrix.shape[1]] = matrix
    return square


def points_in_view(info: dict, points_lidar: np.ndarray) -> np.ndarray:
    """Crop a scan to what camera 2 sees, the only part with labels.

    Args:
        info (dict): See :func:`frame_info`.
        points_lidar (np.ndarray): (N, 4) float32.

    Returns:
        np.ndarray: (n, 4), in the same order.
    """
    calibration = info['calib']
    return box_np_ops.remove_outside_points(
        points_lidar,
        calibration['R0_rect'],
        calibration['Tr_velo_to_cam'],
        calibration['P2'],
        info['image']['image_shape'],
    )


def boxes_lidar(info: dict) -> np.ndarray:
    """Boxes of a frame's objects as mmdet3d's ``KittiDataset`` turns them.

    Args:
        info (dict): See :func:`frame_info`; with labels.

    Returns:
        np.ndarray: (M, 7) float32 x, y, z of the middle of the bottom, length, width, height in metres, yaw in radians.
    """
    annos = info['annos']
    boxes = np.column_stack([annos['location'], annos['dimensions'], annos['rotation_y']])
    boxes = boxes[[name != DONT_CARE for name in annos['name']]].astype(np.float32)
    calibration = {name: info['calib'][name].astype(np.float32) for name in ('R0_rect', 'Tr_velo_to_cam')}
    lidar2cam = calibration['R0_rect'] @ calibration['Tr_velo_to_cam']
    # In double, from the rounded matrix, as KittiDataset inverts what the info file keeps.
    cam2lidar = np.linalg.inv(lidar2cam.astype(np.float64))
    return CameraInstance3DBoxes(boxes).convert_to(Box3DMode.LIDAR, cam2lidar).numpy()


def read_scan(root: Path, split: str, frame: str) -> np.ndarray:
    """(N, 4) float32 points of a frame, as stored."""
    return np.fromfile(root / files_of(split, frame)['velodyne'], np.float32).reshape(-1, 4)


def without_nan(points: np.ndarray) -> np.ndarray:
    """(N, 4) to (n, 4), without rows that are NaN or infinite."""
    return points[np.isfinite(points).all(1)]


def points_in_boxes(points_lidar: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N, M) bool, whether each of (N, 4) points, none of them NaN, lies in each of :func:`boxes_lidar`."""
    return box_np_ops.points_in_rbbox(points_lidar, boxes) if len(boxes) else np.zeros((len(points_lidar), 0), bool)


def prepare_frame(root: Path, out: Path, split: str, frame: str, with_boxes_px: bool = True) -> tuple[dict, list[dict]]:
    """Write a frame's cropped scan and, of a training frame, its objects' points.

    Rows that are NaN or infinite are left out: :func:`kitti_plausibility.look_at_frame` refuses them before.

    Args:
        root (Path): Folder of the benchmark.
        out (Path): Gets ``training/velodyne_reduced/FRAME.bin`` (or ``testing/...``) and
            ``kitti_gt_database/FRAME_TYPE_NUMBER.bin``, points relative to the middle of the box's bottom.
        split (str): ``train``, ``val`` or ``test``.
        frame (str): Six digits.
        with_boxes_px (bool): See :func:`frame_info`.

    Returns:
        tuple[dict, list[dict]]: The frame's record of info version 1, and the database's records of its objects, none
        outside ``train``. Objects without a point in view are not in the database.
    """
    info = frame_info(root, split, frame, with_boxes_px)
    points = points_in_view(info, without_nan(read_scan(root, split, frame)))
    _write(out / files_of(split, frame)['velodyne'].replace('/velodyne/', '/velodyne_reduced/'), points)
    if split == 'test':
        return info, []
    annos, boxes = info['annos'], boxes_lidar(info)
    inside = points_in_boxes(points, boxes)
    # -1 for DontCare regions, which come last.
    annos['num_points_in_gt'] = np.full(len(annos['name']), -1, np.int32)
    annos['num_points_in_gt'][: len(boxes)] = inside.sum(0)
    objects = []
    for number in np.flatnonzero(inside.any(0)) if split == 'train' else ():
        name = str(annos['name'][number])
        path = f'{DATABASE}/{frame}_{name}_{number}.bin'
        own = points[inside[:, number]]
        own[:, :3] -= boxes[number, :3]
        _write(out / path, own)
        objects.append(
            dict(
                name=name,
                path=path,
                image_idx=frame,
                gt_idx=int(number),
                box3d_lidar=boxes[number],
                num_points_in_gt=len(own),
                difficulty=int(annos['difficulty'][number]),
            )
        )
    return info, objects


def build_infos(infos: Sequence[dict]) -> dict:
    """Turn records of :func:`prepare_frame` into the content of an info file of version 1.1.

    Args:
        infos (Sequence[dict]): At least one.

    Returns:
        dict: ``metainfo`` and ``data_list``; a frame's number is its ``sample_idx``.
    """
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        source = Path(folder) / 'version_1' / 'infos.pkl'
        source.parent.mkdir()
        source.write_bytes(pickle.dumps(list(infos)))
        updated = Path(folder) / 'version_2'
        updated.mkdir()
        _converter('update_infos_to_v2').update_kitti_infos(str(source), str(updated))
        return read_plain_pickle(updated / source.name, 'an mmdet3d v2 info file', 'install mmdet3d again')


def join_infos(parts: Sequence[dict]) -> dict:
    """Join contents of :func:`build_infos`, frames sorted by their numbers."""
    categories = {name: label for part in parts for name, label in part['metainfo']['categories'].items()}
    records = sorted((record for part in parts for record in part['data_list']), key=lambda one: one['sample_idx'])
    return dict(metainfo=dict(parts[0]['metainfo'], categories=categories), data_list=records)


def build_database(objects: Iterable[dict]) -> Mapping[str, list[dict]]:
    """Sort the objects of :func:`prepare_frame` by class, as mmdet3d's ``DataBaseSampler`` reads them."""
    database: dict[str, list[dict]] = {}
    for number, one in enumerate(objects):
        database.setdefault(one['name'], []).append(dict(one, group_id=number))
    return database


def _write(path: Path, points: np.ndarray) -> None:
    with replace_when_complete(path) as temporary:
        temporary.write_bytes(points.astype(np.float32).tobytes())


@cache
def _converter(name: str) -> ModuleType:
    """One of mmdet3d's dataset converters, which it ships outside of its importable package."""
    path = Path(mmdet3d.__file__).parent / '.mim' / 'tools' / 'dataset_converters' / f'{name}.py'
    if not path.is_file():
        raise InputError(f'no {path}', "mmdet3d's packaged tools", 'pip install mmdet3d==1.4.0 from a wheel')
    spec = importlib.util.spec_from_file_location(f'mmdet3d_{name}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
