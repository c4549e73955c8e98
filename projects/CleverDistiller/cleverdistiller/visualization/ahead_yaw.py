"""Which way a car looks in its LiDAR's frame."""

import math

import numpy as np


def ahead_yaw(lidar_points: dict) -> float:
    """Where the car's front looks in the LiDAR's frame, radians from x to y.

    x of a nuScenes LiDAR looks right; its ``lidar_points`` record says so, and one without a pose has its x ahead.
    """
    lidar2ego = np.array(lidar_points.get('lidar2ego', np.eye(4)), float)
    ahead_lidar = lidar2ego[0, :3]  # the car's x axis, seen by the sensor
    return math.atan2(ahead_lidar[1], ahead_lidar[0])
