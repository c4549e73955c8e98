"""Made-up scans and frames of nuScenes' sizes, for benchmarks only: nothing about real roads."""

import pickle
from pathlib import Path

import numpy as np
from PIL import Image

BEAMS, HEIGHT_M = 32, 1.8
NATIVE_SIZE_HW = (900, 1600)
CAM2IMG = [[1266.0, 0, 800], [0, 1266, 450], [0, 0, 1]]  # of a nuScenes camera, 64 degrees wide
CAMERAS = ('CAM_FRONT', 'CAM_FRONT_LEFT', 'CAM_BACK_LEFT', 'CAM_BACK', 'CAM_BACK_RIGHT', 'CAM_FRONT_RIGHT')


def spinning_scan(seed: int, points: int) -> np.ndarray:
    """A sweep of 32 beams in a walled yard, (N, 4) float32: x, y, z in metres and intensity in 0..1.

    A quarter of the points lies on the car, 0.1 to 2 m from the sensor, as in the real nuScenes keyframe.
    """
    rng = np.random.default_rng(seed)
    azimuths = -(-points // BEAMS)
    elevation = np.deg2rad(np.linspace(-30.67, 10.67, BEAMS))[None]
    azimuth = np.linspace(-np.pi, np.pi, azimuths, endpoint=False)[:, None] + 0.01  # no ray along an axis
    ray = np.stack(
        np.broadcast_arrays(
            np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)
        ),
        -1,
    ).reshape(-1, 3)
    walls_m = rng.uniform(8, 40, 4)  # at +x, -x, +y, -y
    to_ground = np.where(ray[:, 2] < 0, -HEIGHT_M / ray[:, 2], np.inf)
    to_x = np.where(ray[:, 0] > 0, walls_m[0], -walls_m[1]) / ray[:, 0]
    to_y = np.where(ray[:, 1] > 0, walls_m[2], -walls_m[3]) / ray[:, 1]
    distance_m = np.minimum(np.minimum(to_ground, to_x), to_y) + rng.normal(0, 0.02, len(ray))
    on_car = rng.random(len(ray)) < 0.25
    distance_m[on_car] = 0.1 * np.exp(3 * rng.random(on_car.sum()))
    scan = np.column_stack([ray * distance_m[:, None], rng.random(len(ray))]).astype(np.float32)
    return scan[:points]


def even_ground(seed: int, points: int, points_per_m2: float = 20.0) -> np.ndarray:
    """(N, 4) float32: a square of rough ground that grows with N, so that voxels, pairs and neighbours do too."""
    rng = np.random.default_rng(seed)
    half_m = (points / points_per_m2) ** 0.5 / 2
    xy = rng.uniform(-half_m, half_m, (points, 2))
    return np.column_stack([xy, rng.normal(-HEIGHT_M, 0.1, points), rng.random(points)]).astype(np.float32)


def look_along(yaw: float) -> np.ndarray:
    """(4, 4) LiDAR to camera frame (x right, y down, z forward) for a camera at the sensor."""
    forward, down = np.array([np.cos(yaw), np.sin(yaw), 0]), np.array([0, 0, -1.0])
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([np.cross(down, forward), down, forward])
    return matrix


def write_frames(folder: Path, frames: int, points: int = 34688) -> dict:
    """Write frames of six cameras as mmdet3d's info files name them; returns what a dataset's config says of them."""
    infos = []
    for frame in range(frames):
        rng = np.random.default_rng(frame)
        scan = spinning_scan(frame, points)
        stored = np.column_stack([scan[:, :3], scan[:, 3] * 255, np.zeros(len(scan))]).astype(np.float32)
        stored.tofile(folder / f'{frame}.bin')
        images = {}
        for i, camera in enumerate(CAMERAS):
            # Smooth colours with fine grain: about the size of a nuScenes JPEG, 145 KB.
            coarse = Image.fromarray(rng.integers(0, 256, (18, 32, 3), dtype=np.uint8)).resize(NATIVE_SIZE_HW[::-1])
            grain = rng.normal(0, 6, (*NATIVE_SIZE_HW, 1))
            pixels = np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f'{camera}_{frame}.jpg', quality=75)
            images[camera] = dict(
                img_path=f'{camera}_{frame}.jpg',
                cam2img=CAM2IMG,
                lidar2cam=look_along(2 * np.pi * i / len(CAMERAS)).tolist(),
            )
        infos.append(
            dict(token=str(frame), images=images, lidar_points=dict(lidar_path=f'{frame}.bin', num_pts_feats=5))
        )
    (folder / 'infos.pkl').write_bytes(
        pickle.dumps(dict(metainfo=dict(dataset='made up', info_version='1.1'), data_list=infos))
    )
    return dict(data_root=str(folder), ann_file='infos.pkl', data_prefix={key: '' for key in ('pts', *CAMERAS)})
