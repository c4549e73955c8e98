import numpy as np
import pytest

from cleverdistiller.simulation.sensors.rigs import KITTI, KITTI_P2, KITTI_R0_RECT, KITTI_VELO_TO_CAM, NUSCENES, WAYMO


@pytest.mark.parametrize('rig', [NUSCENES, KITTI, WAYMO], ids=['nuscenes', 'kitti', 'waymo'])
def test_every_mounting_is_rigid_and_cameras_look_level(rig):
    for sensor2ego in (rig.lidar.lidar2ego, *(camera.cam2ego for camera in rig.cameras)):
        rotation = sensor2ego[:3, :3]
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-5) and np.linalg.det(rotation) > 0.99
        assert 1.4 < sensor2ego[2, 3] < 2.3
    for camera in rig.cameras:
        assert abs(camera.cam2ego[2, 2]) < 0.05 and camera.cam2ego[2, 1] < -0.99  # its y looks down


def test_nuscenes_cameras_are_where_the_real_ones_are(keyframe_info):
    for camera in NUSCENES.cameras:
        real = keyframe_info['images'][camera.name]
        assert np.allclose(camera.cam2ego, real['cam2ego'], atol=0.02)
        assert np.allclose(camera.cam2img, real['cam2img'], atol=0.1)
        delay_s = real['timestamp'] - keyframe_info['timestamp']
        assert camera.delay_s == pytest.approx(delay_s, abs=0.001)
    assert np.allclose(NUSCENES.lidar.lidar2ego, keyframe_info['lidar_points']['lidar2ego'], atol=0.03)


def test_nuscenes_beams_are_those_of_the_real_sweep(keyframe_points):
    xyz = keyframe_points[:, :3].double().numpy()
    elevation = np.arcsin(xyz[:, 2] / np.linalg.norm(xyz, axis=1))
    ring = keyframe_points[:, 4].numpy()
    found = [np.median(elevation[ring == k]) for k in range(32)]
    assert np.abs(np.rad2deg(found - NUSCENES.lidar.elevations)).max() < 0.15
    assert abs(len(xyz) / 32 - NUSCENES.lidar.columns) < 3


def test_a_nuscenes_camera_opens_when_the_beams_pass_its_view():
    lidar = NUSCENES.lidar
    yaw = np.arctan2(*lidar.lidar2ego[[1, 0], 0])
    for camera in NUSCENES.cameras:
        column = np.argmin(np.abs(lidar.delays_s() - camera.delay_s))
        beam = lidar.azimuths()[column] + yaw
        looks = np.arctan2(camera.cam2ego[1, 2], camera.cam2ego[0, 2])
        assert abs((beam - looks + np.pi) % (2 * np.pi) - np.pi) < np.deg2rad(20), camera.name


def test_kitti_camera_is_its_calibration():
    camera, lidar = KITTI.cameras[0], KITTI.lidar
    point_lidar = np.array([15.0, 2.0, -0.5, 1.0])
    rect = KITTI_R0_RECT @ (KITTI_VELO_TO_CAM @ point_lidar)
    expected = KITTI_P2 @ [*rect, 1]
    cam = np.linalg.inv(camera.cam2ego) @ lidar.lidar2ego @ point_lidar
    found = camera.cam2img @ cam[:3]
    assert np.allclose(found[:2] / found[2], expected[:2] / expected[2], atol=1e-6)


def test_waymo_columns_look_back_first_and_turn_clockwise():
    lidar = WAYMO.lidar
    yaw = np.arctan2(lidar.lidar2ego[1, 0], lidar.lidar2ego[0, 0])
    in_car = lidar.azimuths() + yaw
    ratio = (lidar.columns - np.arange(lidar.columns) - 0.5) / lidar.columns
    assert np.allclose(in_car, (2 * ratio - 1) * np.pi)
    assert np.rad2deg(lidar.elevations[[0, -1]]) == pytest.approx([-17.6, 2.4])
