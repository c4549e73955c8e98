import math
from pathlib import Path

import numpy as np
import pytest
import torch
from nuscenes.nuscenes import NuScenesExplorer
from nuscenes.utils.data_classes import LidarPointCloud
from PIL import Image
from pyquaternion import Quaternion

from cleverdistiller.ops.projection import lidar2cam_through_ego, pair_points_with_pixels, project_points
from conftest import look_along, make_sweep


def made_up_rig() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three skewed cameras with a lever arm: lidar2cam, cam2img and native_size_hw."""
    lidar2cam, cam2img = [], []
    for camera, yaw in enumerate((0.1, 2.2, 4.0)):
        matrix = Quaternion(axis=[1, 2, 3], degrees=3 + camera).transformation_matrix @ look_along(yaw)
        matrix[:3, 3] = 0.3, -0.2, 0.1 * camera
        lidar2cam.append(matrix)
        cam2img.append([[70 + camera, 0.5, 81], [0, 75, 44 + camera], [0, 0, 1]])
    return (
        torch.tensor(np.stack(lidar2cam)),
        torch.tensor(cam2img, dtype=torch.float64),
        torch.tensor([[90, 160], [80, 170], [100, 150]]),
    )


def slow_pairs(points, lidar2cam, cam2img, native_size_hw, input_size_hw, min_depth_m) -> list[tuple]:
    """Slow twin of ``pair_points_with_pixels``: plain floats, one point after the other."""
    pairs = []
    for image, (transform, intrinsics) in enumerate(zip(lidar2cam.tolist(), cam2img.tolist())):
        rows, cols = native_size_hw[image].tolist()
        for index, point in enumerate(points.tolist()):
            x, y, z = (sum(row[k] * point[k] for k in range(3)) + row[3] for row in transform[:3])
            if z <= min_depth_m:
                continue
            u, v = ((row[0] * x + row[1] * y + row[2] * z) / z for row in intrinsics[:2])
            if 0 < u < cols - 1 and 0 < v < rows - 1:
                pairs.append((index, image, u * input_size_hw[1] / cols, v * input_size_hw[0] / rows))
    return pairs


@pytest.mark.parametrize('min_depth_m', [1.0, 9.0])
def test_pairs_equal_the_slow_twin(min_depth_m):
    points = torch.from_numpy(make_sweep(0, 8, 90)[:, :3])
    rig = made_up_rig()
    point_index, image_index, uv_px = pair_points_with_pixels(points, *rig, (64, 128), min_depth_m)
    expected = slow_pairs(points, *rig, (64, 128), min_depth_m)
    assert len(expected) > 50 and {pair[1] for pair in expected} == {0, 1, 2}
    assert list(zip(point_index.tolist(), image_index.tolist())) == [pair[:2] for pair in expected]
    np.testing.assert_allclose(uv_px, [pair[2:] for pair in expected], atol=1e-5)
    assert (point_index.dtype, image_index.dtype, uv_px.dtype) == (torch.int64, torch.int64, torch.float32)


def test_projection_equals_the_slow_twin():
    points = torch.from_numpy(make_sweep(1, 4, 30)[:, :3])
    lidar2cam, cam2img, _ = made_up_rig()
    uv_px, depth_m = project_points(points, lidar2cam, cam2img)
    assert uv_px.shape == (3, 120, 2) and depth_m.shape == (3, 120)
    assert uv_px.dtype == depth_m.dtype == torch.float64
    for image in range(3):
        for index, point in enumerate(points.double()):
            in_cam = lidar2cam[image] @ torch.cat([point, torch.ones(1)])
            on_plane = cam2img[image] @ in_cam[:3]
            assert math.isclose(depth_m[image, index], in_cam[2], rel_tol=1e-12, abs_tol=1e-12)
            torch.testing.assert_close(uv_px[image, index], on_plane[:2] / in_cam[2], rtol=1e-9, atol=1e-9)


def pair_at(u: float, v: float, depth_m: float, input_size_hw=(90, 160)) -> list[list[float]]:
    """Pixels found for the point that a 90x160 camera at the LiDAR, looking along its z, sees at (u, v)."""
    cam2img = torch.tensor([[64.0, 0, 80], [0, 64, 45], [0, 0, 1]])  # powers of two: exact pixels
    point = torch.tensor([[(u - 80) / 64 * depth_m, (v - 45) / 64 * depth_m, depth_m]], dtype=torch.float64)
    _, _, uv_px = pair_points_with_pixels(
        point, torch.eye(4)[None], cam2img[None], torch.tensor([[90, 160]]), input_size_hw
    )
    return uv_px.tolist()


@pytest.mark.parametrize('u, v', [(0, 45), (159, 45), (80, 0), (80, 89), (-3, 45), (170, 45), (80, 95)])
def test_borders_are_outside(u, v):
    assert pair_at(u, v, 4.0) == []


@pytest.mark.parametrize('u, v', [(0.25, 45), (158.75, 45), (80, 0.25), (80, 88.75)])
def test_just_inside_the_borders(u, v):
    assert pair_at(u, v, 4.0) == [[u, v]]


@pytest.mark.parametrize(
    'depth_m, kept', [(1.0, False), (1.0 + 2**-20, True), (0.5, False), (-4.0, False), (0.0, False)]
)
def test_depth_limit_is_strict(depth_m, kept):
    assert bool(pair_at(80, 45, depth_m)) == kept


def test_nothing_behind_a_camera_is_seen_whatever_the_limit():
    behind = torch.tensor([[0.0, 0, -4]])
    found, _, _ = pair_points_with_pixels(
        behind,
        torch.eye(4)[None],
        torch.tensor([[[64.0, 0, 80], [0, 64, 45], [0, 0, 1]]]),
        torch.tensor([[90, 160]]),
        (90, 160),
        min_depth_m=-9.0,
    )
    assert len(found) == 0


def test_scaled_not_rounded_to_the_network_input():
    assert pair_at(10.25, 20.5, 4.0, (45, 320)) == [[20.5, 10.25]]


def test_no_points_and_nothing_seen():
    for points in (torch.zeros(0, 3), torch.zeros(5, 3)):
        point_index, image_index, uv_px = pair_points_with_pixels(points, *made_up_rig(), (64, 128))
        assert len(point_index) == len(image_index) == 0 and uv_px.shape == (0, 2)


def test_chain_equals_the_slow_twin():
    rng = np.random.default_rng(0)
    rotations = [Quaternion(rng.normal(size=4)).unit for _ in range(4)]
    translations = rng.uniform(-1000, 1000, (4, 3))
    matrices = []
    for rotation, translation in zip(rotations, translations):
        matrices.append(torch.tensor(rotation.transformation_matrix))
        matrices[-1][:3, 3] = torch.tensor(translation)
    chained = lidar2cam_through_ego(*matrices)
    for point in rng.uniform(-50, 50, (5, 3)):
        expected = point
        for i in (0, 1):  # lidar -> ego -> global
            expected = rotations[i].rotate(expected) + translations[i]
        for i in (2, 3):  # global -> ego at the shutter -> camera
            expected = rotations[i].inverse.rotate(expected - translations[i])
        np.testing.assert_allclose(
            (chained @ torch.tensor([*point, 1.0], dtype=torch.float64))[:3], expected, atol=1e-9
        )


# On the real keyframe, against nuscenes-devkit's own chain.


def matrix_of(record: dict, key: str) -> np.ndarray:
    return np.array(record[key], np.float64)


def ego2global_at_shutter(info: dict, image: dict) -> np.ndarray:
    """The pose that the info file does not hold, out of the chain that made its ``lidar2cam``."""
    return (
        matrix_of(info, 'ego2global')
        @ matrix_of(info['lidar_points'], 'lidar2ego')
        @ np.linalg.inv(matrix_of(image, 'lidar2cam'))
        @ np.linalg.inv(matrix_of(image, 'cam2ego'))
    )


class OneFrame:
    """As much of ``NuScenes`` as ``map_pointcloud_to_image`` asks for; a token names its own record."""

    def __init__(self, folder: Path, info: dict) -> None:
        self.dataroot = str(folder)
        self.records = {}
        lidar = info['lidar_points']
        self._add('LIDAR_TOP', 'lidar', lidar['lidar_path'], lidar['lidar2ego'], info['ego2global'])
        for camera, image in info['images'].items():
            self._add(
                camera,
                'camera',
                image['img_path'],
                image['cam2ego'],
                ego2global_at_shutter(info, image),
                image['cam2img'],
            )

    def _add(self, token, modality, filename, sensor2ego, ego2global, cam2img=None) -> None:
        self.records['sample_data', token] = dict(
            filename=filename, sensor_modality=modality, calibrated_sensor_token=token, ego_pose_token=token
        )
        self.records['calibrated_sensor', token] = dict(self._pose(sensor2ego), camera_intrinsic=cam2img)
        self.records['ego_pose', token] = self._pose(ego2global)

    @staticmethod
    def _pose(matrix) -> dict:
        matrix = np.array(matrix, np.float64)
        # The nearest rotation: the file's float32 is not orthogonal enough for pyquaternion.
        u, _, v = np.linalg.svd(matrix[:3, :3])
        return dict(rotation=Quaternion(matrix=u @ v).elements.tolist(), translation=matrix[:3, 3].tolist())

    def get(self, table: str, token: str) -> dict:
        return self.records[table, token]


@pytest.fixture
def float64_clouds(monkeypatch):
    """Let the devkit transform in float64: float32 global coordinates alone are worth 0.1 px."""
    from_file = LidarPointCloud.from_file
    monkeypatch.setattr(
        LidarPointCloud, 'from_file', lambda path: LidarPointCloud(from_file(path).points.astype(np.float64))
    )


def rig_of(info: dict, folder: Path, camera: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """lidar2cam (1, 4, 4), cam2img (1, 3, 3) and native_size_hw (1, 2)."""
    image = info['images'][camera]
    with Image.open(folder / image['img_path']) as opened:
        size_hw = torch.tensor([[opened.height, opened.width]])
    return (
        torch.from_numpy(matrix_of(image, 'lidar2cam'))[None],
        torch.from_numpy(matrix_of(image, 'cam2img'))[None],
        size_hw,
    )


CAMERAS = ('CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_BACK_RIGHT', 'CAM_BACK', 'CAM_BACK_LEFT', 'CAM_FRONT_LEFT')


@pytest.mark.parametrize('camera', CAMERAS)
def test_same_pairs_as_nuscenes_devkit(camera, keyframe_dir, keyframe_info, keyframe_points, float64_clouds):
    explorer = NuScenesExplorer(OneFrame(keyframe_dir, keyframe_info))
    theirs_uv, theirs_depth, _ = explorer.map_pointcloud_to_image('LIDAR_TOP', camera)
    lidar2cam, cam2img, size_hw = rig_of(keyframe_info, keyframe_dir, camera)
    points = keyframe_points[:, :3]
    index, _, uv_px = pair_points_with_pixels(points, lidar2cam, cam2img, size_hw, tuple(size_hw[0].tolist()))
    depth_m = project_points(points[index], lidar2cam, cam2img)[1][0]
    # The devkit begins at 1, we begin at 0; nothing else differs.
    both = (uv_px > 1).all(1)
    assert theirs_uv.shape[1] == both.sum() > 1000
    assert ((uv_px[~both] > 0) & (uv_px[~both] <= 1)).any(1).all()
    # Both keep the points' order, so the same depths, all different, say the same points.
    np.testing.assert_allclose(depth_m[both], theirs_depth, atol=1e-4)
    assert np.abs(uv_px[both].numpy() - theirs_uv[:2].T).max() < 0.01


@pytest.mark.parametrize('camera', CAMERAS)
def test_ego_motion_counts(camera, keyframe_dir, keyframe_info, keyframe_points):
    image, lidar = keyframe_info['images'][camera], keyframe_info['lidar_points']
    lidar2cam, cam2img, size_hw = rig_of(keyframe_info, keyframe_dir, camera)
    matrices = [
        torch.from_numpy(matrix)
        for matrix in (
            matrix_of(lidar, 'lidar2ego'),
            matrix_of(keyframe_info, 'ego2global'),
            ego2global_at_shutter(keyframe_info, image),
            matrix_of(image, 'cam2ego'),
        )
    ]
    torch.testing.assert_close(lidar2cam_through_ego(*matrices)[None], lidar2cam, atol=1e-6, rtol=0)
    standing = lidar2cam_through_ego(matrices[0], matrices[1], matrices[1], matrices[3])[None]
    index, _, moving_uv = pair_points_with_pixels(
        keyframe_points[:, :3], lidar2cam, cam2img, size_hw, tuple(size_hw[0].tolist())
    )
    standing_uv = project_points(keyframe_points[index, :3], standing, cam2img)[0][0]
    moved_px = (standing_uv - moving_uv).norm(dim=1)
    assert moved_px.max() > 1  # CAM_BACK_LEFT, 0.5 ms off: 1.7 px; CAM_FRONT_LEFT, 43 ms off: 158 px
