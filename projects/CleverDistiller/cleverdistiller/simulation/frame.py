"""What the simulated sensors hand to the writers, with the truth beside it.

Frames of reference: ``world`` (z up, metres); ``ego`` (on the ground, below the rear axle for nuScenes and Waymo, below
the LiDAR for KITTI; x forward, y left, z up); ``lidar``; ``cam`` (x right, y down, z forward). ``a2b`` is a (4, 4)
float64 matrix that takes coordinates of a to coordinates of b. Times are seconds since the scene's start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cleverdistiller.simulation.surfaces import SurfaceClass


@dataclass(frozen=True)
class ObjectState:
    """One object at one time. The box is upright.

    Args:
        time_s (float): When.
        instance (int): 1, 2, ... within the scene, the same in all its frames; 0 is the background.
        surface (SurfaceClass): What it is; one of ``OBJECT_CLASSES``.
        centre_world_m (np.ndarray): (3,) middle of the box.
        size_lwh_m (np.ndarray): (3,) length (along the heading), width, height.
        yaw_world (float): Heading, radians from world x towards y.
        velocity_world_mps (np.ndarray): (3,).
        parked (bool): Without a driver (vehicles and cycles).
    """

    time_s: float
    instance: int
    surface: SurfaceClass
    centre_world_m: np.ndarray
    size_lwh_m: np.ndarray
    yaw_world: float
    velocity_world_mps: np.ndarray
    parked: bool

    def contains(self, points_world_m: np.ndarray) -> np.ndarray:
        """(N,) bool: which points (N, 3) lie in the box."""
        local = (points_world_m - self.centre_world_m) @ self.object2world[:3, :3]
        return (np.abs(local) <= self.size_lwh_m / 2).all(1)

    @property
    def object2world(self) -> np.ndarray:
        """(4, 4) from the box's middle, x along the heading."""
        cos, sin = np.cos(self.yaw_world), np.sin(self.yaw_world)
        matrix = np.eye(4)
        matrix[:3, :3] = [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]
        matrix[:3, 3] = self.centre_world_m
        return matrix


@dataclass(frozen=True)
class LidarScan:
    """One revolution. N points, in firing order: column by column, and from the lowest beam up in each column.

    Coordinates are those of the sensor at ``time_s``: the car's own motion during the revolution is taken out, as
    nuScenes and KITTI do; other objects are where they were when each ray was fired.

    Args:
        time_s (float): Time of the sweep (its end for nuScenes, its middle otherwise).
        ego2world (np.ndarray): (4, 4) at ``time_s``.
        points_lidar_m (np.ndarray): (N, 3) float32.
        intensity (np.ndarray): (N,) float32 in 0..1.
        ring (np.ndarray): (N,) uint8; 0 is the lowest beam.
        column (np.ndarray): (N,) uint16 step of the revolution, 0 is fired first.
        fired_s (np.ndarray): (N,) float32, firing time minus ``time_s``.
        range_m (np.ndarray): (N,) float32 measured distance from where the sensor was when firing.
        surface (np.ndarray): (N,) uint8 :class:`SurfaceClass`.
        instance (np.ndarray): (N,) uint16, 0 for the background.
        echo (np.ndarray): (N,) uint8: 0 for the first return, 1 for a second one of the same ray (its point follows
            all first returns). Only sensors with two returns have any.
    """

    time_s: float
    ego2world: np.ndarray
    points_lidar_m: np.ndarray
    intensity: np.ndarray
    ring: np.ndarray
    column: np.ndarray
    fired_s: np.ndarray
    range_m: np.ndarray
    surface: np.ndarray
    instance: np.ndarray
    echo: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.points_lidar_m)
        for name in ('intensity', 'ring', 'column', 'fired_s', 'range_m', 'surface', 'instance', 'echo'):
            shape = getattr(self, name).shape
            if shape != (count,):
                raise ValueError(f'LidarScan.{name}: got {shape}, expected ({count},), one for each point')

    def __len__(self) -> int:
        return len(self.points_lidar_m)


@dataclass(frozen=True)
class CameraImage:
    """One exposure, with what each pixel shows. On smooth surfaces labels are a neighbour's, depth is interpolated.

    Args:
        time_s (float): Shutter time.
        ego2world (np.ndarray): (4, 4) at ``time_s``.
        rgb (np.ndarray): (H, W, 3) uint8.
        depth_m (np.ndarray): (H, W) float32 along the optical axis, inf for the sky.
        surface (np.ndarray): (H, W) uint8 :class:`SurfaceClass`.
        instance (np.ndarray): (H, W) uint16, 0 for the background.
        visible_px (dict[int, tuple[int, int]]): Instance to the number of its pixels in the picture, and about how many
            there would be if nothing stood in front of it (counted on every fourth pixel, never fewer than are seen).
    """

    time_s: float
    ego2world: np.ndarray
    rgb: np.ndarray
    depth_m: np.ndarray
    surface: np.ndarray
    instance: np.ndarray
    visible_px: dict[int, tuple[int, int]]

    def __post_init__(self) -> None:
        size_hw = self.rgb.shape[:2]
        for name in ('depth_m', 'surface', 'instance'):
            shape = getattr(self, name).shape
            if shape != size_hw:
                raise ValueError(f'CameraImage.{name}: got {shape}, expected {size_hw}, as the picture')


@dataclass(frozen=True)
class SimulatedFrame:
    """One keyframe of one rig.

    Args:
        scene (int): Number of the scene.
        index (int): Number of the frame in its scene.
        time_s (float): Its time, which is its scan's.
        scan (LidarScan): The keyframe's sweep.
        images (dict[str, CameraImage]): Camera's name to image, in the rig's order.
        objects (tuple[ObjectState, ...]): Every object of the scene near the car, seen or not, in the box that an
            annotator would fit to its points: where the beams met it (a revolution takes time; at ``time_s`` if none
            did), and with room at its sides and top for the noise of the range.
        sweeps (tuple[LidarScan, ...]): Sweeps after the previous keyframe and before this one, oldest first.
    """

    scene: int
    index: int
    time_s: float
    scan: LidarScan
    images: dict[str, CameraImage]
    objects: tuple[ObjectState, ...]
    sweeps: tuple[LidarScan, ...]
