"""A tiny made-up nuScenes root: every table that nuscenes-devkit wants, small images, short sweeps."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from pyquaternion import Quaternion

from conftest import look_along, make_sweep

SCENES = ('scene-0061', 'scene-0103')  # in mini_train and in mini_val
KEYFRAMES = 2  # per scene, half a second apart
SWEEPS_BETWEEN = 2
IMAGE_SIZE_WH = (160, 90)
CAMERA_YAWS_DEG = dict(
    CAM_FRONT=0, CAM_FRONT_RIGHT=-55, CAM_BACK_RIGHT=-110, CAM_BACK=180, CAM_BACK_LEFT=110, CAM_FRONT_LEFT=55
)
START_US = 1_532_402_927_000_000


def write_nuscenes_root(root: Path, lidarseg: bool = False) -> Path:
    """Write ``v1.0-mini`` with two scenes of two keyframes; returns ``root``."""
    tables = {
        name: []
        for name in (
            'attribute',
            'visibility',
            'instance',
            'sample_annotation',
            'ego_pose',
            'sample',
            'sample_data',
            'scene',
        )
    }
    tables['category'] = [dict(token='car', name='vehicle.car', description='', index=1)]
    tables['log'] = [dict(token='log', logfile='log', vehicle='v', date_captured='', location='yard')]
    tables['map'] = [dict(token='map', log_tokens=['log'], category='semantic_prior', filename='maps/yard.png')]
    tables.update(_sensors())
    for scene, name in enumerate(SCENES):
        _add_scene(tables, root, scene, name)
    (root / 'maps').mkdir()
    Image.new('L', (4, 4)).save(root / 'maps' / 'yard.png')
    if lidarseg:
        tables['lidarseg'] = _write_masks(root, tables['sample_data'])
    (root / 'v1.0-mini').mkdir()
    for name, rows in tables.items():
        (root / 'v1.0-mini' / f'{name}.json').write_text(json.dumps(rows))
    return root


def _sensors() -> dict[str, list[dict]]:
    """The sensor and calibrated_sensor tables."""
    width, height = IMAGE_SIZE_WH
    sensors = [dict(token='LIDAR_TOP', channel='LIDAR_TOP', modality='lidar')]
    calibrated = [
        dict(
            token='LIDAR_TOP',
            sensor_token='LIDAR_TOP',
            translation=[0.94, 0.0, 1.84],
            rotation=Quaternion(axis=[0.01, 0.02, 1], degrees=-90).elements.tolist(),
            camera_intrinsic=[],
        )
    ]
    for camera, degrees in CAMERA_YAWS_DEG.items():
        yaw = np.deg2rad(degrees)
        cam2ego = Quaternion(matrix=look_along(yaw)[:3, :3].T) * Quaternion(axis=[1, 2, 3], degrees=0.7)
        sensors.append(dict(token=camera, channel=camera, modality='camera'))
        calibrated.append(
            dict(
                token=camera,
                sensor_token=camera,
                translation=[1 + 0.7 * np.cos(yaw), 0.5 * np.sin(yaw), 1.5],
                rotation=cam2ego.elements.tolist(),
                camera_intrinsic=[[126.6, 0, width / 2 + 1.6], [0, 126.6, height / 2 - 2.1], [0, 0, 1]],
            )
        )
    return dict(sensor=sensors, calibrated_sensor=calibrated)


def _add_scene(tables: dict, root: Path, scene: int, name: str) -> None:
    """One scene's keyframes, the sweeps between them, and the images of the keyframes."""
    samples = [f'{name}-sample{k}' for k in range(KEYFRAMES)]
    tables['scene'].append(
        dict(
            token=name,
            name=name,
            log_token='log',
            description='',
            nbr_samples=KEYFRAMES,
            first_sample_token=samples[0],
            last_sample_token=samples[-1],
        )
    )
    sweeps = []
    for k, token in enumerate(samples):
        time_us = START_US + scene * 60_000_000 + k * 500_000
        tables['sample'].append(
            dict(
                token=token,
                timestamp=time_us,
                scene_token=name,
                prev=samples[k - 1] if k else '',
                next=samples[k + 1] if k + 1 < KEYFRAMES else '',
            )
        )
        for i in reversed(range(SWEEPS_BETWEEN + 1 if k else 1)):
            sweeps.append(_add_data(tables, root, token, 'LIDAR_TOP', time_us - i * 166_000, is_key=i == 0))
        for i, camera in enumerate(CAMERA_YAWS_DEG):  # the shutters open 8 to 48 ms before the sweep ends
            _add_data(tables, root, token, camera, time_us - 8_000 * (i + 1), is_key=True)
    for previous, sweep in pairwise(sweeps):
        previous['next'], sweep['prev'] = sweep['token'], previous['token']


def _add_data(tables: dict, root: Path, sample: str, sensor: str, time_us: int, is_key: bool) -> dict:
    """One row of sample_data with the ego pose of its own time, and its file."""
    is_lidar = sensor == 'LIDAR_TOP'
    token = f'{sensor}-{time_us}'
    name = f'{"samples" if is_key else "sweeps"}/{sensor}/{token}.{"pcd.bin" if is_lidar else "jpg"}'
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    if is_lidar:
        make_sweep(len(tables['sample_data'])).tofile(root / name)
    else:
        rng = np.random.default_rng(time_us)
        coarse = Image.fromarray(rng.integers(0, 255, (6, 10, 3), dtype=np.uint8))
        coarse.resize(IMAGE_SIZE_WH).save(root / name)
    seconds = (time_us - START_US) / 1e6
    heading = Quaternion(axis=[0.02, -0.01, 1], radians=0.4 + 0.3 * seconds)
    tables['ego_pose'].append(
        dict(
            token=token,
            timestamp=time_us,
            rotation=heading.elements.tolist(),
            translation=[411.3 + 8 * seconds, 1180.9 + 3 * seconds, 0.1 * seconds],
        )
    )
    width, height = (0, 0) if is_lidar else IMAGE_SIZE_WH
    tables['sample_data'].append(
        dict(
            token=token,
            sample_token=sample,
            ego_pose_token=token,
            calibrated_sensor_token=sensor,
            timestamp=time_us,
            fileformat='pcd' if is_lidar else 'jpg',
            is_key_frame=is_key,
            height=height,
            width=width,
            filename=name,
            prev='',
            next='',
        )
    )
    return tables['sample_data'][-1]


def _write_masks(root: Path, sample_data: list[dict]) -> list[dict]:
    """The lidarseg table and one byte for each point of each keyframe."""
    (root / 'lidarseg' / 'v1.0-mini').mkdir(parents=True)
    rows = []
    for record in sample_data:
        if record['calibrated_sensor_token'] == 'LIDAR_TOP' and record['is_key_frame']:
            name = f'lidarseg/v1.0-mini/{record["token"]}_lidarseg.bin'
            np.ones((root / record['filename']).stat().st_size // 20, np.uint8).tofile(root / name)
            rows.append(dict(token=record['token'], sample_data_token=record['token'], filename=name))
    return rows
