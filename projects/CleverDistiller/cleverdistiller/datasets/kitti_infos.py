"""mmdet3d's info records, cropped scans and ground-truth database of KITTI's object detection benchmark.

Records come from mmdet3d's own converter. What its ``create_data.py`` breaks is done here: it reads whole images for
their size, sleeps, names the database's objects after places in a list instead of frames, and leaves half of its files
behind when it fails.
"""

import importlib.util
import io
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

from cleverdistiller.datasets.kitti_files import DONT_CARE, files_of
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.plain_pickle import read_plain_pickle

DATABASE = 'kitti_gt_database'


def frame_info(root: Path, split: str, frame: str) -> dict:
    """mmdet3d's record of a frame, info version 1, without the number of points in its boxes.

    Args:
        root (Path): Folder of the benchmark.
        split (str): ``train``, ``val`` or ``test``.
        frame (str): Six digits.
    """
    info = _converter('kitti_data_utils').get_kitti_image_info(
        str(root),
        training=split != 'test',
        label_info=split != 'test',
        velodyne=True,
        calib=True,
        image_ids=[int(frame)],
        num_worker=1,
        with_imageshape=False,
    )[0]
    with Image.open(root / files_of(split, frame)['image_2']) as image:
        info['image']['image_shape'] = np.array(image.size[::-1], dtype=np.int32)
    return info


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


def prepare_frame(root: Path, out: Path, split: str, frame: str) -> tuple[dict, list[dict]]:
    """Write a frame's cropped scan and, of a training frame, its objects' points.

    Args:
        root (Path): Folder of the benchmark.
        out (Path): Gets ``training/velodyne_reduced/FRAME.bin`` (or ``testing/...``) and
            ``kitti_gt_database/FRAME_TYPE_NUMBER.bin``, points relative to the middle of the box's bottom.
        split (str): ``train``, ``val`` or ``test``.
        frame (str): Six digits.

    Returns:
        tuple[dict, list[dict]]: The frame's record of info version 1, and the database's records of its objects, none
        outside ``train``. Objects without a point in view are not in the database.
    """
    info = frame_info(root, split, frame)
    scan = files_of(split, frame)['velodyne']
    points = points_in_view(info, np.fromfile(root / scan, np.float32).reshape(-1, 4))
    _write(out / scan.replace('/velodyne/', '/velodyne_reduced/'), points)
    if split == 'test':
        return info, []
    annos, boxes = info['annos'], boxes_lidar(info)
    inside = box_np_ops.points_in_rbbox(points, boxes) if len(boxes) else np.zeros((len(points), 0), bool)
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
        points.astype(np.float32).tofile(temporary)


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
