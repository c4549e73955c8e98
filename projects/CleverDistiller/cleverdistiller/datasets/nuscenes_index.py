"""mmdet3d v2 info records from the tables of a nuScenes root: no image, sweep or label is opened here.

Only ``tools/prepare_nuscenes.py`` imports it: nuscenes-devkit takes seconds to import.
"""

import json
import os.path as osp
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from nuscenes.nuscenes import NuScenes
from nuscenes.utils import splits
from nuscenes.utils.geometry_utils import transform_matrix
from pyquaternion import Quaternion
from torch import Tensor

from cleverdistiller.datasets.nuscenes_distillation import NuScenesDistillation
from cleverdistiller.errors import InputError, listed
from cleverdistiller.fileio import visible_paths
from cleverdistiller.ops.projection import lidar2cam_through_ego

CAMERAS = NuScenesDistillation.METAINFO['cameras']
TABLES = (
    'attribute',
    'calibrated_sensor',
    'category',
    'ego_pose',
    'instance',
    'log',
    'map',
    'sample',
    'sample_annotation',
    'sample_data',
    'scene',
    'sensor',
    'visibility',
)
# Version -> name in the info file's name -> scenes.
SPLITS = {
    'v1.0-trainval': dict(train=splits.train, val=splits.val),
    'v1.0-mini': dict(train=splits.mini_train, val=splits.mini_val),
    'v1.0-test': dict(test=splits.test),
}
BYTES_PER_POINT = 20  # float32 x, y, z, intensity, ring

# What a file is, as far as checking it matters.
KEYFRAME_SWEEP = 'keyframe sweep'
OTHER_SWEEP = 'sweep between keyframes'
IMAGE = 'image'
MASK = 'lidarseg mask'


def open_nuscenes(root: str | Path, version: str) -> NuScenes:
    """Load the tables with nuscenes-devkit.

    Args:
        root (str | Path): Folder that holds ``samples``, ``sweeps``, ``maps`` and the tables.
        version (str): One of ``SPLITS``; the tables' folder below ``root``.

    Returns:
        NuScenes: The loaded tables.

    Raises:
        InputError: If the folder or a table is missing or damaged.
    """
    check_tables(root, version)
    with _damage_as_input_error(root, version):
        return NuScenes(version, str(root), verbose=False)


def check_tables(root: str | Path, version: str) -> None:
    """Refuse a root without the 13 tables of ``version``.

    Raises:
        InputError: If the folder or a table is missing; names what is.
    """
    folder = Path(root) / version
    missing = [f'{name}.json' for name in TABLES if not (folder / f'{name}.json').is_file()]
    if missing:
        what = listed(missing) if folder.is_dir() else 'that folder'
        raise InputError(
            f'{folder}, without {what}',
            f'a nuScenes root with the {len(TABLES)} tables of {version}',
            f'unpack the {version} metadata archive into {root}, or check ROOT and --version',
        )


def mask_files(root: str | Path, version: str) -> dict[str, str]:
    """List the lidarseg masks. Needs no :class:`NuScenes`, which stops at a missing mask without naming it.

    Args:
        root (str | Path): See :func:`open_nuscenes`.
        version (str): See :func:`open_nuscenes`.

    Returns:
        dict[str, str]: File below ``root`` to ``MASK``; empty where there is no lidarseg table.

    Raises:
        InputError: If the table is damaged.
    """
    table = Path(root) / version / 'lidarseg.json'
    if not table.is_file():
        return {}
    with _damage_as_input_error(root, version):
        return {record['filename']: MASK for record in json.loads(table.read_text())}


def named_files(nusc: NuScenes, samples: Iterable[dict], max_sweeps: int) -> dict[str, str]:
    """List the sweeps and images that the records of ``samples`` will name.

    Args:
        nusc (NuScenes): The loaded tables.
        samples (Iterable[dict]): Rows of the sample table.
        max_sweeps (int): See :func:`frame_record`.

    Returns:
        dict[str, str]: File below the root to ``KEYFRAME_SWEEP``, ``OTHER_SWEEP`` or ``IMAGE``.

    Raises:
        InputError: If the tables do not belong together.
    """
    files = {}
    with _damage_as_input_error(nusc.dataroot, nusc.version):
        for sample in samples:
            lidar, cameras, sweeps = _sensor_records(nusc, sample, max_sweeps)
            files.update((camera['filename'], IMAGE) for camera in cameras)
            files.update(
                (sweep['filename'], KEYFRAME_SWEEP if sweep['is_key_frame'] else OTHER_SWEEP)
                for sweep in (lidar, *sweeps)
            )
    return files


def masked_sweeps(nusc: NuScenes) -> dict[str, str]:
    """Each lidarseg mask to its sweep, files below the root; empty where there is no lidarseg table.

    Raises:
        InputError: If the tables do not belong together.
    """
    with _damage_as_input_error(nusc.dataroot, nusc.version):
        return {
            mask['filename']: nusc.get('sample_data', mask['sample_data_token'])['filename']
            for mask in getattr(nusc, 'lidarseg', [])
        }


def mask_fault(root: str | Path, mask: str, sweep: str) -> str | None:
    """Say what is wrong with a mask beside its whole sweep: other than one byte for each point."""
    labels, points = osp.getsize(Path(root) / mask), osp.getsize(Path(root) / sweep) // BYTES_PER_POINT
    return None if labels == points else f'{labels} labels for {points} points'


def row_bytes(kind: str) -> int:
    """What the size of a file of that kind must be a multiple of."""
    return BYTES_PER_POINT if kind in (KEYFRAME_SWEEP, OTHER_SWEEP) else 1


def split_samples(nusc: NuScenes) -> dict[str, list[dict]]:
    """Sort the keyframes into the official splits.

    Args:
        nusc (NuScenes): The loaded tables.

    Returns:
        dict[str, list[dict]]: ``train`` and ``val``, or ``test``, to rows of the sample table in its order,
        which is the order of mmdet3d's own info files.

    Raises:
        InputError: If no scene belongs to a split, or the tables do not belong together.
    """
    scenes = {split: frozenset(names) for split, names in SPLITS[nusc.version].items()}
    with _damage_as_input_error(nusc.dataroot, nusc.version):
        named = [(nusc.get('scene', sample['scene_token'])['name'], sample) for sample in nusc.sample]
    samples = {split: [sample for name, sample in named if name in names] for split, names in scenes.items()}
    if not any(samples.values()):
        raise InputError(
            f'{osp.join(nusc.dataroot, nusc.version)} with the scenes {sorted({name for name, _ in named})[:5]}',
            f'scenes of the {" or ".join(samples)} split of {nusc.version}',
            "check --version: the folder's name and its tables must be of one version",
        )
    return samples


def build_infos(nusc: NuScenes, samples: Iterable[dict], max_sweeps: int) -> dict:
    """Make the content of one info file.

    Args:
        nusc (NuScenes): The loaded tables.
        samples (Iterable[dict]): Rows of the sample table.
        max_sweeps (int): See :func:`frame_record`.

    Returns:
        dict: ``metainfo`` and ``data_list``, as mmdet3d 1.4 reads them (info version 1.1). There are no
        ``instances``: boxes are labels, which distillation never reads.

    Raises:
        InputError: If the tables do not belong together.
    """
    with _damage_as_input_error(nusc.dataroot, nusc.version):
        records = [frame_record(nusc, sample, index, max_sweeps) for index, sample in enumerate(samples)]
    metainfo = dict(dataset='nuscenes', version=nusc.version, info_version='1.1')
    return dict(metainfo=metainfo, data_list=records)


def frame_record(nusc: NuScenes, sample: dict, sample_idx: int, max_sweeps: int) -> dict:
    """Describe one keyframe. All matrices are nested lists of float64; times are seconds.

    Args:
        nusc (NuScenes): The loaded tables.
        sample (dict): Row of the sample table.
        sample_idx (int): Number of the frame in its info file.
        max_sweeps (int): List so many of the sweeps before the keyframe's, newest first. As in mmdet3d's own
            files, that counts an older keyframe's sweep too.

    Returns:
        dict: mmdet3d v2 record. Files are named without their folder, except for ``lidar_sweeps``, where
        mmdet3d looks for ``samples`` or ``sweeps`` in the name.
    """
    lidar, cameras, sweeps = _sensor_records(nusc, sample, max_sweeps)
    lidar2ego, ego2global = _poses(nusc, [lidar])  # (1, 4, 4)
    sensor2ego, sensor_ego2global = _poses(nusc, [*cameras, *sweeps])  # (V + sweeps, 4, 4)
    lidar2sensor = lidar2cam_through_ego(lidar2ego, ego2global, sensor_ego2global, sensor2ego).tolist()
    sensor2ego, sensor_ego2global = sensor2ego.tolist(), sensor_ego2global.tolist()
    record = dict(
        sample_idx=sample_idx,
        token=sample['token'],
        scene_name=nusc.get('scene', sample['scene_token'])['name'],
        scene_row=nusc.getind('scene', sample['scene_token']),  # label splits by scene follow the table's order
        timestamp=sample['timestamp'] / 1e6,
        ego2global=ego2global[0].tolist(),
        images={},
        lidar_sweeps=[],
        lidar_points=dict(
            lidar_path=osp.basename(lidar['filename']),
            num_pts_feats=5,
            lidar2ego=lidar2ego[0].tolist(),
            sample_data_token=lidar['token'],  # names the frame's file in a lidarseg submission
        ),
    )
    for i, (name, camera) in enumerate(zip(CAMERAS, cameras)):
        record['images'][name] = dict(
            img_path=osp.basename(camera['filename']),
            cam2img=_calibration(nusc, camera)['camera_intrinsic'],
            sample_data_token=camera['token'],
            timestamp=camera['timestamp'] / 1e6,
            cam2ego=sensor2ego[i],
            lidar2cam=lidar2sensor[i],
        )
    for i, sweep in enumerate(sweeps, start=len(cameras)):
        record['lidar_sweeps'].append(
            dict(
                lidar_points=dict(lidar_path=sweep['filename'], lidar2ego=sensor2ego[i], lidar2sensor=lidar2sensor[i]),
                ego2global=sensor_ego2global[i],
                timestamp=sweep['timestamp'] / 1e6,
                sample_data_token=sweep['token'],
            )
        )
    if getattr(nusc, 'lidarseg', None):  # the test set's table has no rows
        record['pts_semantic_mask_path'] = osp.basename(nusc.get('lidarseg', lidar['token'])['filename'])
    return record


def _sensor_records(nusc: NuScenes, sample: dict, max_sweeps: int) -> tuple[dict, list[dict], list[dict]]:
    """Rows of the sample_data table: the keyframe's sweep, its images, and the sweeps before it."""
    lidar, *cameras = (nusc.get('sample_data', sample['data'][sensor]) for sensor in ('LIDAR_TOP', *CAMERAS))
    sweeps, previous = [], lidar['prev']
    while previous and len(sweeps) < max_sweeps:
        sweeps.append(nusc.get('sample_data', previous))
        previous = sweeps[-1]['prev']
    return lidar, cameras, sweeps


def _poses(nusc: NuScenes, records: list[dict]) -> tuple[Tensor, Tensor]:
    """(S, 4, 4) float64 sensor to ego, and ego to global when each sensor fired."""
    sensor2ego = [_matrix(_calibration(nusc, record)) for record in records]
    ego2global = [_matrix(nusc.get('ego_pose', record['ego_pose_token'])) for record in records]
    return torch.from_numpy(np.stack(sensor2ego)), torch.from_numpy(np.stack(ego2global))


def _calibration(nusc: NuScenes, record: dict) -> dict:
    return nusc.get('calibrated_sensor', record['calibrated_sensor_token'])


def _matrix(pose: dict) -> np.ndarray:
    return transform_matrix(np.array(pose['translation']), Quaternion(pose['rotation']))


@contextmanager
def _damage_as_input_error(root: str | Path, version: str) -> Iterator[None]:
    """Name the tables when nuscenes-devkit, or a look-up in them, fails."""
    folder = Path(root) / version
    try:
        yield
    except json.JSONDecodeError as error:
        raise InputError(
            f'{_truncated_table(folder)}, which is not JSON ({error})',
            'whole tables',
            f'unpack the {version} metadata archive again',
        ) from error
    except KeyError as error:
        raise InputError(
            f'{folder}, whose tables lack {error}',
            'tables that belong together',
            f'unpack the {version} metadata archive again',
        ) from error
    except (AssertionError, OSError) as error:
        raise InputError(
            f'{folder}, which nuscenes-devkit cannot load ({error})',
            'a whole nuScenes root',
            f'unpack the {version} metadata archive again, which also brings the maps; the '
            'lidarseg and panoptic archives bring the masks of their tables',
        ) from error


def _truncated_table(folder: Path) -> Path:
    """The first table that is not JSON: the decoder does not say which file it read."""
    for path in visible_paths(folder, '*.json'):
        try:
            json.loads(path.read_text())
        except ValueError:
            return path
    return folder
