"""Made-up frames in mmdet3d's v2 layout, and the real ones where they are at hand."""

import importlib.util
import os
import pickle
from pathlib import Path
from unittest import mock

import mmengine
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image

import cleverdistiller  # noqa: F401  (fills the registries)
from cleverdistiller.compat import missing_operators

REPO = Path(__file__).parent.parent
REAL_DATA = Path(os.environ.get('CLEVERDISTILLER_REAL_DATA', REPO.parent / 'shared' / 'data'))
CAMERAS = ('CAM_FRONT', 'CAM_BACK')

# Marker to why the tests that bear it cannot run here; empty in the reference environment (test_environment.py).
LACKING = {}
if reason := missing_operators():
    LACKING['needs_mmcv_ops'] = f"mmcv's compiled operators do not load: {reason}"
if not importlib.util.find_spec('spconv'):
    LACKING['needs_sparse_conv'] = 'no sparse convolution on a CPU: spconv is not installed'


def pytest_collection_modifyitems(items):
    """Skip what bears a marker of something that is not there."""
    for item in items:
        for marker, reason in LACKING.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True, scope='session')
def _mmdet3d_scope():
    init_default_scope('mmdet3d')


@pytest.fixture(autouse=True)
def _environment_stays():
    """Tools limit the threads of their process, and the processes of the next tests would inherit that."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def _same_numbers_in_every_run():
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(scope='session')
def keyframe_dir() -> Path:
    """Folder of the real nuScenes keyframe."""
    folder = REAL_DATA / 'nuscenes_keyframe'
    if not folder.is_dir():
        pytest.skip(f'no real keyframe in {folder}: set CLEVERDISTILLER_REAL_DATA')
    return folder


@pytest.fixture(scope='session')
def keyframe_info(keyframe_dir) -> dict:
    """Its record in the info file."""
    return mmengine.load(next(keyframe_dir.glob('*.pkl')))['data_list'][0]


@pytest.fixture(scope='session')
def keyframe_points(keyframe_dir) -> torch.Tensor:
    """Its sweep: (34688, 5) x, y, z in metres, intensity in 0..255, ring."""
    return torch.from_numpy(np.fromfile(next(keyframe_dir.glob('*.bin')), np.float32).reshape(-1, 5))


def make_sweep(seed: int, beams: int = 16, azimuths: int = 180) -> np.ndarray:
    """A sensor 1.8 m above ground in a walled yard: (N, 5) float32 as nuScenes stores it."""
    rng = np.random.default_rng(seed)
    elevation = np.deg2rad(np.linspace(-25, 5, beams))[:, None]
    azimuth = np.linspace(-np.pi, np.pi, azimuths, endpoint=False)[None] + 0.01  # no ray along an axis
    ray = np.stack(
        np.broadcast_arrays(
            np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)
        ),
        -1,
    ).reshape(-1, 3)
    walls = rng.uniform(8, 20, 4)  # distance of the walls at +x, -x, +y, -y
    to_ground = np.where(ray[:, 2] < 0, -1.8 / ray[:, 2], np.inf)
    to_x = np.where(ray[:, 0] > 0, walls[0], -walls[1]) / ray[:, 0]
    to_y = np.where(ray[:, 1] > 0, walls[2], -walls[3]) / ray[:, 1]
    distance = np.minimum(np.minimum(to_ground, to_x), to_y) + rng.normal(0, 0.02, len(ray))
    intensity = np.where(distance < to_ground - 0.1, 80, 20) + rng.integers(0, 20, len(ray))
    ring = np.repeat(np.arange(beams), azimuths)
    return np.concatenate([ray * distance[:, None], intensity[:, None], ring[:, None]], 1).astype(np.float32)


def look_along(yaw: float) -> np.ndarray:
    """(4, 4) LiDAR to camera frame (x right, y down, z forward) for a camera at the sensor."""
    forward = np.array([np.cos(yaw), np.sin(yaw), 0])
    down = np.array([0, 0, -1.0])
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([np.cross(down, forward), down, forward])
    return matrix


def write_frames(root: Path, count: int, image_size_hw: tuple[int, int] = (90, 160)) -> Path:
    """``count`` made-up frames of two cameras with their v2 info file; returns its path."""
    root.mkdir(parents=True, exist_ok=True)
    height, width = image_size_hw
    cam2img = [[width / 2, 0, width / 2], [0, width / 2, height / 2], [0, 0, 1]]
    infos = []
    for frame in range(count):
        rng = np.random.default_rng(frame)
        make_sweep(frame).tofile(root / f'{frame}.bin')
        images = {}
        for camera, yaw in zip(CAMERAS, (0, np.pi)):
            coarse = rng.integers(0, 255, (6, 10, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((width, height)).save(root / f'{camera}_{frame}.jpg', quality=95)
            images[camera] = dict(img_path=f'{camera}_{frame}.jpg', cam2img=cam2img, lidar2cam=look_along(yaw).tolist())
        infos.append(
            dict(
                sample_idx=frame,
                token=f'frame{frame}',
                images=images,
                lidar_points=dict(lidar_path=f'{frame}.bin', num_pts_feats=5),
            )
        )
    path = root / 'infos.pkl'
    with open(path, 'wb') as file:
        pickle.dump(dict(metainfo=dict(dataset='made-up', info_version='1.1'), data_list=infos), file)
    return path


def small_pipeline(augment: bool = True, **queries) -> list[dict]:
    """The training pipeline for 64x128 images."""
    steps = [
        dict(type='LoadLiDARSweep'),
        dict(type='LoadCameraImages', size_hw=(64, 128)),
        dict(type='PairPointsWithPixels'),
        dict(type='SampleOccupancyQueries', **{'num_queries': 96, **queries}),
        dict(type='AugmentScan'),
        dict(type='PackDistillationInputs'),
    ]
    return steps if augment else [step for step in steps if step['type'] != 'AugmentScan']


def small_dataset(root: Path, **options) -> dict:
    """Config of a dataset over :func:`write_frames`."""
    return dict(
        dict(
            type='DistillationDataset',
            data_root=str(root),
            ann_file='infos.pkl',
            metainfo=dict(cameras=CAMERAS),
            pipeline=small_pipeline(),
        ),
        **options,
    )


def small_model(**changes) -> dict:
    """Config of a distiller that steps in well under a second."""
    return dict(
        dict(
            type='CleverDistiller',
            data_preprocessor=dict(type='DistillationDataPreprocessor', voxel_size_m=0.2),
            teacher=dict(type='TimmViTTeacher', name='test_vit', weights='random', image_size_hw=(64, 128)),
            student=dict(type='MinkUNetStudent', depth=14, width=16),
            projection_head=dict(type='MLPHead', hidden_channels=32),
            distillation_loss=dict(type='L2FeatureLoss'),
            occupancy_head=dict(type='ALSOOccupancyHead'),
        ),
        **changes,
    )


@pytest.fixture(scope='session')
def frames_dir(tmp_path_factory) -> Path:
    """Four made-up frames; do not change the folder, copy it."""
    return write_frames(tmp_path_factory.mktemp('frames'), 4).parent


@pytest.fixture(scope='session')
def scene():
    """A simulated scene of five seconds; do not change it."""
    from cleverdistiller.simulation.world.scene import Scene

    return Scene(seed=0, index=0, duration_s=5.0)
