"""Frames made by hand for the KITTI writers: known objects, points inside them, no simulated sensor."""

import numpy as np

from cleverdistiller.simulation.frame import CameraImage, LidarScan, ObjectState, SimulatedFrame
from cleverdistiller.simulation.sensors.rigs import KITTI, rigid, turn_z
from cleverdistiller.simulation.surfaces import SurfaceClass

LIDAR2EGO = KITTI.lidar.lidar2ego
HOME = np.eye(4)


def thing(surface, ahead_m, left_m, size_lwh_m, yaw=0.0, instance=1, speed_mps=0.0, ego2world=HOME):
    """An object standing on the car's ground, placed and turned as the car sees it."""
    centre = ego2world @ [ahead_m, left_m, size_lwh_m[2] / 2, 1]
    heading = yaw + np.arctan2(ego2world[1, 0], ego2world[0, 0])
    velocity = speed_mps * np.array([np.cos(heading), np.sin(heading), 0])
    return ObjectState(0.0, instance, surface, centre[:3], np.array(size_lwh_m, float), heading, velocity, parked=False)


def car(**changes):
    return thing(**(dict(surface=SurfaceClass.CAR, ahead_m=20, left_m=3, size_lwh_m=(4.2, 1.8, 1.5)) | changes))


def make_frame(objects=(), points=100, visible_px=None, scene=0, index=0, ego2world=HOME, seed=0):
    """A frame with ``points`` road points and as many points inside each object.

    ``visible_px`` overrides, an instance, that all of its 1000 pixels are seen; ``points`` may be a dict by instance.
    """
    rng = np.random.default_rng(seed)
    count = points if isinstance(points, dict) else {0: points} | {one.instance: points for one in objects}
    world2lidar = np.linalg.inv(ego2world @ LIDAR2EGO)
    road = rng.uniform([-40, -40, -1.75], [-30, 40, -1.73], (count.get(0, 0), 3))
    clouds, surface, instance = [road], [np.full(len(road), SurfaceClass.ROAD)], [np.zeros(len(road))]
    for one in objects:
        inside = rng.uniform(-0.48, 0.48, (count.get(one.instance, 0), 3)) * one.size_lwh_m
        to_lidar = world2lidar @ one.object2world
        clouds.append(inside @ to_lidar[:3, :3].T + to_lidar[:3, 3])
        surface.append(np.full(len(inside), one.surface))
        instance.append(np.full(len(inside), one.instance))
    cloud = np.concatenate(clouds).astype(np.float32)
    n = len(cloud)
    scan = LidarScan(
        time_s=0.1 * index,
        ego2world=ego2world,
        points_lidar_m=cloud,
        intensity=rng.random(n, np.float32),
        ring=np.zeros(n, np.uint8),
        column=np.zeros(n, np.uint16),
        fired_s=np.zeros(n, np.float32),
        range_m=np.linalg.norm(cloud, axis=1),
        surface=np.concatenate(surface).astype(np.uint8),
        instance=np.concatenate(instance).astype(np.uint16),
        echo=np.zeros(n, np.uint8),
    )
    size_hw = KITTI.cameras[0].size_hw
    image = CameraImage(
        time_s=scan.time_s,
        ego2world=ego2world,
        rgb=np.tile(rng.integers(0, 255, (1, size_hw[1], 3), np.uint8), (size_hw[0], 1, 1)),
        depth_m=np.full(size_hw, np.inf, np.float32),
        surface=np.zeros(size_hw, np.uint8),
        instance=np.zeros(size_hw, np.uint16),
        visible_px={one.instance: (1000, 1000) for one in objects} | (visible_px or {}),
    )
    return SimulatedFrame(scene, index, scan.time_s, scan, {'image_2': image}, tuple(objects), ())


def driven(metres, yaw=0.0):
    """Pose of a car that drove ``metres`` along its heading from somewhere in the world."""
    return rigid(turn_z(yaw), (200.0, 300.0, 1.0)) @ rigid(np.eye(3), (metres, 0, 0))
