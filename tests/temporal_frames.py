"""Made-up keyframes of a car that drives through a still yard."""

import pickle
from pathlib import Path

import mmengine
import numpy as np

from conftest import make_sweep, small_pipeline, write_frames

LIDAR2EGO = np.array([[0.0, -1, 0, 0.9], [1, 0, 0, 0.1], [0, 0, 1, 1.8], [0, 0, 0, 1]])
SCENES = ('a', 'b', 'a', 'a')  # of the frames in the info file


def ego2global_of(frame: int) -> np.ndarray:
    """(4, 4) float64: half a metre forth and 0.1 rad to the left each frame, far from the map's origin."""
    yaw = 0.1 * frame
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    pose[:3, 3] = [1000 + 0.5 * frame, 2000, 0.3]
    return pose


def lidar2global_of(frame: int) -> np.ndarray:
    return ego2global_of(frame) @ LIDAR2EGO


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(N, 3 + c) points with their positions in another frame."""
    return np.concatenate([points[:, :3] @ matrix[:3, :3].T + matrix[:3, 3], points[:, 3:]], 1)


def write_temporal_frames(root: Path) -> Path:
    """Frames 0, 2, 3 of one scene, in reverse order of time, and frame 1 of another; returns ``root``.

    Every sweep holds the points of frame 0's, in an order of its own.
    """
    path = write_frames(root, len(SCENES))
    infos = mmengine.load(path)
    for number, (scene, info) in enumerate(zip(SCENES, infos['data_list'])):
        global2lidar = np.linalg.inv(lidar2global_of(number))
        sweep = moved(make_sweep(0).astype(np.float64), global2lidar @ lidar2global_of(0))
        sweep[order_of(number)].astype(np.float32).tofile(root / f'{number}.bin')
        info.update(scene_name=scene, timestamp=100.0 - number, ego2global=ego2global_of(number).tolist())
        info['lidar_points']['lidar2ego'] = LIDAR2EGO.tolist()
    path.write_bytes(pickle.dumps(infos))
    return root


def order_of(frame: int) -> np.ndarray:
    """Which point of ``make_sweep(0)`` each row of a frame's sweep is."""
    return np.random.default_rng(frame).permutation(len(make_sweep(0)))


def temporal_pipeline(**options) -> list[dict]:
    """The training pipeline with the next sweep."""
    steps = small_pipeline()
    return [*steps[:-2], dict(type='LoadNextSweep', **options), *steps[-2:]]
