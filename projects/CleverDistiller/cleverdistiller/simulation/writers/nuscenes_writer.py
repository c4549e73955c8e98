"""Simulated frames as a nuScenes root: what nuscenes-devkit and mmdet3d's converter open as if it were a download."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path

import numpy as np
from nuscenes.utils import splits
from PIL import Image
from pyquaternion import Quaternion

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.simulation.frame import CameraImage, LidarScan, ObjectState, SimulatedFrame
from cleverdistiller.simulation.sensors.rigs import NUSCENES
from cleverdistiller.simulation.world.scene import Scene
from cleverdistiller.simulation.writers.nuscenes_labels import (
    ATTRIBUTES,
    CATEGORIES,
    LIDARSEG_ID,
    VISIBILITIES,
    attribute_of,
    category_of,
    visibility_of,
)
from cleverdistiller.simulation.writers.writer import Writer, validation_scenes

START_S = 1_600_000_000  # of scene 0, Unix time; a made-up date, the same in every run
SCENES_APART_S = 1_000
MAP_METRES_PER_PIXEL = 0.1  # what nuscenes-devkit takes for granted
JPEG_QUALITY = 90
MINI_SCENES = 10
SIMULATED = 'simulated'

# Tables whose rows come with the frames; the rest are made once.
FRAME_TABLES = ('sample', 'sample_data', 'ego_pose', 'sample_annotation', 'lidarseg')

# Tables whose rows know their neighbours in time, and the field that neighbours share.
CHAINS = dict(sample='scene_token', sample_data='calibrated_sensor_token', sample_annotation='instance_token')


class NuScenesWriter(Writer):
    """Writes the 13 tables, sweeps, images and map masks of nuScenes, and the masks of nuScenes-lidarseg.

    Up to ten scenes are ``v1.0-mini``, more are ``v1.0-trainval``. Scenes take their names from the official splits,
    so that every tool sorts them into train and val; about a fifth, the last ones, are val. Logs, descriptions and
    file names say that the set is simulated. There is no radar.

    Args:
        root (Path): A folder; made with the first file.
        scenes (int): Number of scenes; at most 850.
        frames (int): Keyframes in each.
        seed (int): Of the whole set, for the tokens.

    Raises:
        InputError: If the official splits have not enough scenes.
    """

    format = 'nuscenes'
    rig = NUSCENES
    tells_intrinsics = True

    def __init__(self, root: Path, scenes: int, frames: int, seed: int) -> None:
        super().__init__(root, scenes, frames, seed)
        self.version = 'v1.0-mini' if scenes <= MINI_SCENES else 'v1.0-trainval'
        self.scene_names = official_scene_names(scenes)

    def write_frame(self, frame: SimulatedFrame, scene: Scene) -> dict:
        """Write a keyframe's sweep, mask and images, and the sweeps before it; the first frame brings the map.

        Args:
            frame (SimulatedFrame): The frame, of a car with this writer's ``rig``.
            scene (Scene): Its scene, for the map.

        Returns:
            dict: Table's name to rows, all plain values. Links to other frames are still missing.
        """
        if frame.index == 0:
            self._write_map(scene)
        data = [self._write_sweep(frame, sweep, is_key_frame=False) for sweep in frame.sweeps]
        data.append(self._write_sweep(frame, frame.scan, is_key_frame=True))
        mask = self._write_mask(frame.scan, data[-1][0]['token'])
        data += [self._write_image(frame, name, image) for name, image in frame.images.items()]
        sample = dict(
            token=self._token('sample', frame.scene, frame.index),
            timestamp=_timestamp_us(frame.scene, frame.time_s),
            scene_token=self._token('scene', frame.scene),
        )
        return dict(
            sample=[sample],
            sample_data=[row for row, _ in data],
            ego_pose=[pose for _, pose in data],
            sample_annotation=self._annotations(frame),
            lidarseg=[mask],
        )

    def finish(self, records: list[list[dict]]) -> None:
        """Link the rows and write the tables.

        Args:
            records (list[list[dict]]): Of each scene, of each of its frames, what ``write_frame`` returned.
        """
        frames = [record for scene in records for record in scene]
        tables = {name: [dict(row) for record in frames for row in record[name]] for name in FRAME_TABLES}
        tables['instance'] = _instances(tables['sample_annotation'])
        for name, chain in CHAINS.items():
            _link(tables[name], chain)
        tables.update(self._scene_tables(tables['sample']), **self._sensor_tables(), **self._word_tables())
        for name, rows in tables.items():
            with replace_when_complete(self.root / self.version / f'{name}.json') as path:
                path.write_text(json.dumps(rows, indent=0, allow_nan=False))

    def _write_sweep(self, frame: SimulatedFrame, sweep: LidarScan, is_key_frame: bool) -> tuple[dict, dict]:
        channel = self.rig.lidar.name
        row, pose = self._sensor_rows(frame, channel, sweep.time_s, sweep.ego2world, is_key_frame)
        intensity = np.round(sweep.intensity * 255)
        points = np.column_stack([sweep.points_lidar_m, intensity, sweep.ring]).astype(np.float32)
        with replace_when_complete(self.root / row['filename']) as path:
            path.write_bytes(points.tobytes())
        return row, pose

    def _write_mask(self, scan: LidarScan, token: str) -> dict:
        filename = f'lidarseg/{self.version}/{token}_lidarseg.bin'
        with replace_when_complete(self.root / filename) as path:
            path.write_bytes(LIDARSEG_ID[scan.surface].tobytes())
        return dict(token=token, sample_data_token=token, filename=filename)

    def _write_image(self, frame: SimulatedFrame, channel: str, image: CameraImage) -> tuple[dict, dict]:
        size_hw = image.rgb.shape[:2]
        row, pose = self._sensor_rows(frame, channel, image.time_s, image.ego2world, True, size_hw)
        with replace_when_complete(self.root / row['filename']) as path:
            Image.fromarray(image.rgb).save(path, 'JPEG', quality=JPEG_QUALITY)
        return row, pose

    def _write_map(self, scene: Scene) -> None:
        drivable = scene.drivable_map(MAP_METRES_PER_PIXEL)  # (H, W)
        with replace_when_complete(self.root / self._map_file(scene.index)) as path:
            Image.fromarray(drivable.astype(np.uint8) * 255).save(path, 'PNG')

    def _sensor_rows(
        self,
        frame: SimulatedFrame,
        channel: str,
        time_s: float,
        ego2world: np.ndarray,
        is_key_frame: bool,
        size_hw: tuple[int, int] = (0, 0),
    ) -> tuple[dict, dict]:
        """The rows of sample_data and ego_pose. They share their token; a LiDAR's picture is 0 pixels high."""
        timestamp = _timestamp_us(frame.scene, time_s)
        token = self._token('sample_data', frame.scene, frame.index, channel, timestamp)
        extension, fileformat = ('pcd.bin', 'pcd') if channel == self.rig.lidar.name else ('jpg', 'jpg')
        name = f'{self._logfile(frame.scene)}__{channel}__{timestamp}.{extension}'
        row = dict(
            token=token,
            # A sweep between keyframes belongs to the later one: the devkit moves boxes to its time that way.
            sample_token=self._token('sample', frame.scene, frame.index),
            ego_pose_token=token,
            calibrated_sensor_token=self._token('calibrated_sensor', frame.scene, channel),
            timestamp=timestamp,
            fileformat=fileformat,
            is_key_frame=is_key_frame,
            height=size_hw[0],
            width=size_hw[1],
            filename=f'{"samples" if is_key_frame else "sweeps"}/{channel}/{name}',
        )
        return row, dict(token=token, timestamp=timestamp, **_pose(ego2world))

    def _annotations(self, frame: SimulatedFrame) -> list[dict]:
        """A row for each object that the keyframe's sweep hit; points are all those in its box."""
        scan, rows = frame.scan, []
        lidar2world = scan.ego2world @ self.rig.lidar.lidar2ego
        points_world_m = scan.points_lidar_m @ lidar2world[:3, :3].T + lidar2world[:3, 3]
        for state in frame.objects:
            inside = state.contains(points_world_m)
            if (scan.instance[inside] == state.instance).any():
                rows.append(self._annotation(frame, state, int(inside.sum())))
        return rows

    def _annotation(self, frame: SimulatedFrame, state: ObjectState, points: int) -> dict:
        length, width, height = map(float, state.size_lwh_m)
        attribute = attribute_of(state)
        return dict(
            token=self._token('sample_annotation', frame.scene, frame.index, state.instance),
            sample_token=self._token('sample', frame.scene, frame.index),
            instance_token=self._token('instance', frame.scene, state.instance),
            category_token=self._token('category', category_of(state.surface)),
            visibility_token=visibility_of(state.instance, frame.images.values()),
            attribute_tokens=[self._token('attribute', attribute)] if attribute else [],
            **_pose(state.object2world),
            size=[width, length, height],
            num_lidar_pts=points,
            num_radar_pts=0,
        )

    def _scene_tables(self, samples: list[dict]) -> dict[str, list[dict]]:
        """One scene, one log and one map for each scene."""
        of_scene = defaultdict(list)
        for row in samples:
            of_scene[row['scene_token']].append(row['token'])
        tables = dict(scene=[], log=[], map=[])
        for index, name in enumerate(self.scene_names):
            scene, log = self._token('scene', index), self._token('log', index)
            tokens = of_scene[scene]
            tables['scene'].append(
                dict(
                    token=scene,
                    log_token=log,
                    nbr_samples=len(tokens),
                    first_sample_token=tokens[0],
                    last_sample_token=tokens[-1],
                    name=name,
                    description=f'Simulated scene {index} of seed {self.seed}; nothing of the real {name}',
                )
            )
            date = datetime.fromtimestamp(_timestamp_us(index, 0) / 1e6, timezone.utc)
            tables['log'].append(
                dict(
                    token=log,
                    logfile=self._logfile(index),
                    vehicle=SIMULATED,
                    date_captured=f'{date:%Y-%m-%d}',
                    location=f'{SIMULATED}-{index}',
                )
            )
            tables['map'].append(
                dict(
                    token=self._token('map', index),
                    log_tokens=[log],
                    category='semantic_prior',
                    filename=self._map_file(index),
                )
            )
        return tables

    def _word_tables(self) -> dict[str, list[dict]]:
        """The vocabulary of annotations, as far as nuScenes defines it."""
        return dict(
            category=[
                dict(token=self._token('category', name), name=name, description=SIMULATED, index=index)
                for index, name in enumerate(CATEGORIES)
            ],
            attribute=[
                dict(token=self._token('attribute', name), name=name, description=SIMULATED) for name in ATTRIBUTES
            ],
            visibility=[
                dict(token=token, level=level, description=f'{level[1:]} % of the pixels in all images are visible')
                for token, level in VISIBILITIES.items()
            ],
        )

    def _sensor_tables(self) -> dict[str, list[dict]]:
        """The sensors, and their one calibration once a scene, as nuScenes has it."""
        mounted = [(self.rig.lidar.name, 'lidar', self.rig.lidar.lidar2ego, [])]
        mounted += [(camera.name, 'camera', camera.cam2ego, camera.cam2img.tolist()) for camera in self.rig.cameras]
        return dict(
            sensor=[
                dict(token=self._token('sensor', channel), channel=channel, modality=modality)
                for channel, modality, _, _ in mounted
            ],
            calibrated_sensor=[
                dict(
                    token=self._token('calibrated_sensor', scene, channel),
                    sensor_token=self._token('sensor', channel),
                    **_pose(sensor2ego),
                    camera_intrinsic=cam2img,
                )
                for scene in range(self.scenes)
                for channel, _, sensor2ego, cam2img in mounted
            ],
        )

    def _logfile(self, scene: int) -> str:
        return f'{SIMULATED}-seed{self.seed}-scene{scene:04d}'

    def _map_file(self, scene: int) -> str:
        return f'maps/{self._token("map", scene)}.png'

    def _token(self, *what: str | int) -> str:
        """32 hex digits that are the same in every run of this seed."""
        return hashlib.md5(json.dumps([self.seed, *what]).encode()).hexdigest()


def official_scene_names(scenes: int) -> list[str]:
    """Choose names from the official splits: the first scenes are train, about the last fifth val.

    Args:
        scenes (int): How many; up to ten are named after v1.0-mini.

    Returns:
        list[str]: A name a scene. One scene alone is train, two or more have at least one val.

    Raises:
        InputError: If there are not as many official scenes.
    """
    train, val = (splits.mini_train, splits.mini_val) if scenes <= MINI_SCENES else (splits.train, splits.val)
    if not 1 <= scenes <= len(train) + len(val):
        raise InputError(
            f'{scenes} scenes', f'1 to {len(train) + len(val)}, the size of nuScenes', 'write fewer scenes, each longer'
        )
    for_val = min(validation_scenes(scenes), len(val))
    return train[: scenes - for_val] + val[:for_val]


def _timestamp_us(scene: int, time_s: float) -> int:
    return (START_S + SCENES_APART_S * scene) * 1_000_000 + round(time_s * 1e6)


def _pose(sensor2parent: np.ndarray) -> dict[str, list[float]]:
    """Translation, and rotation as a quaternion w, x, y, z, of a (4, 4) matrix."""
    rotation = Quaternion(matrix=sensor2parent[:3, :3])
    return dict(translation=sensor2parent[:3, 3].tolist(), rotation=rotation.elements.tolist())


def _link(rows: Iterable[dict], field: str) -> None:
    """Point each row at the one before and after it with the same ``field``; rows are ordered in time."""
    chains = defaultdict(list)
    for row in rows:
        row['prev'] = row['next'] = ''
        chains[row[field]].append(row)
    for chain in chains.values():
        for earlier, later in pairwise(chain):
            earlier['next'], later['prev'] = later['token'], earlier['token']


def _instances(annotations: Iterable[dict]) -> list[dict]:
    """The instance table. Takes the category out of the annotations: it is the instance's."""
    category, of_instance = {}, defaultdict(list)
    for row in annotations:
        category[row['instance_token']] = row.pop('category_token')
        of_instance[row['instance_token']].append(row)
    return [
        dict(
            token=token,
            category_token=category[token],
            nbr_annotations=len(rows),
            first_annotation_token=rows[0]['token'],
            last_annotation_token=rows[-1]['token'],
        )
        for token, rows in of_instance.items()
    ]
