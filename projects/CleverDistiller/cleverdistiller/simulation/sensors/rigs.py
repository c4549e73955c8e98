"""The sensors of the three cars: published mounting, optics, beams and timing.

Sources: nuScenes' and KITTI's calibration files, Velodyne's data sheets (HDL-32E, HDL-64E), Waymo's paper (arXiv
1912.04838, table 2) and Frame protos. Numbers are rounded to what a sensor's mounting can mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera.

    Args:
        name (str): As the format spells it.
        size_hw (tuple[int, int]): Rows and columns.
        cam2img (np.ndarray): (3, 3).
        cam2ego (np.ndarray): (4, 4); camera x right, y down, z forward.
        delay_s (float): Shutter time minus the sweep's time.
    """

    name: str
    size_hw: tuple[int, int]
    cam2img: np.ndarray
    cam2ego: np.ndarray
    delay_s: float


@dataclass(frozen=True)
class LidarModel:
    """A spinning LiDAR.

    Args:
        name (str): As the format spells it.
        elevations (np.ndarray): (R,) radians, ascending: ring 0 looks lowest.
        columns (int): Firings in a revolution.
        period_s (float): Duration of a revolution.
        first_azimuth (float): Radians in the sensor's frame, of column 0.
        clockwise (bool): Seen from above.
        reference (float): Where in the revolution the sweep's time lies; 0 is the start, 1 the end.
        lidar2ego (np.ndarray): (4, 4).
        range_m (tuple[float, float]): Nearest and farthest return.
        noise_m (float): Standard deviation of the range.
        dropout (float): Share of returns lost at random on bright surfaces nearby; dim and far ones are lost more.
        gain (float): Intensity of a white surface that faces the sensor.
        returns (int): 1 or 2 for each ray.
    """

    name: str
    elevations: np.ndarray
    columns: int
    period_s: float
    first_azimuth: float
    clockwise: bool
    reference: float
    lidar2ego: np.ndarray
    range_m: tuple[float, float]
    noise_m: float
    dropout: float
    gain: float
    returns: int = 1

    def azimuths(self) -> np.ndarray:
        """(columns,) radians in the sensor's frame, in firing order."""
        step = 2 * np.pi / self.columns
        return self.first_azimuth + np.arange(self.columns) * (-step if self.clockwise else step)

    def delays_s(self) -> np.ndarray:
        """(columns,) firing time minus the sweep's time."""
        return ((np.arange(self.columns) + 0.5) / self.columns - self.reference) * self.period_s


@dataclass(frozen=True)
class Rig:
    """A car's sensors.

    Args:
        lidar (LidarModel): The LiDAR on the roof.
        cameras (tuple[CameraModel, ...]): In the format's order.
        frame_s (float): Time between keyframes.
        sweeps_between (int): LiDAR sweeps between two keyframes that the format stores.
    """

    lidar: LidarModel
    cameras: tuple[CameraModel, ...]
    frame_s: float
    sweeps_between: int


def with_smaller_images(rig: Rig, scale: float) -> Rig:
    """The same cameras with fewer pixels.

    Args:
        rig (Rig): The car.
        scale (float): Rows and columns are multiplied by it, and rounded.

    Returns:
        Rig: With pictures that show the same, and intrinsics to match.
    """
    # A pixel's middle has whole coordinates, so the picture begins at -0.5.
    resize = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])
    cameras = tuple(
        replace(
            camera,
            size_hw=tuple(round(side * scale) for side in camera.size_hw),
            cam2img=resize @ camera.cam2img,
        )
        for camera in rig.cameras
    )
    return replace(rig, cameras=cameras)


def rigid(rotation: np.ndarray, translation_m: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) from a (3, 3) rotation and a shift."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation_m
    return matrix


def turn_z(yaw: float) -> np.ndarray:
    """(3, 3) rotation about z by ``yaw`` radians."""
    return np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])


def look(yaw_deg: float, pitch_down_deg: float, translation_m: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) camera to ego, for a camera that looks along ``yaw_deg`` (0 is ahead, 90 is left)."""
    pitch = np.deg2rad(pitch_down_deg)
    tilt = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    axes = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # camera z ahead, x right, y down
    return rigid(turn_z(np.deg2rad(yaw_deg)) @ tilt @ axes, translation_m)


def _pinhole(focal_px: float, u_px: float, v_px: float) -> np.ndarray:
    return np.array([[focal_px, 0, u_px], [0, focal_px, v_px], [0, 0, 1]])


def _nuscenes() -> Rig:
    lidar = LidarModel(
        name='LIDAR_TOP',
        elevations=np.deg2rad(np.linspace(-30.67, 10.67, 32)),
        columns=1084,
        period_s=0.05,
        # The sensor's x looks right, y ahead. A sweep ends where CAM_BACK_LEFT has just been passed.
        first_azimuth=np.deg2rad(106.2 + 90),
        clockwise=True,
        reference=1.0,
        lidar2ego=rigid(turn_z(np.deg2rad(-89.9)), (0.944, 0.0, 1.840)),
        range_m=(1.0, 100.0),
        noise_m=0.02,
        dropout=0.02,
        gain=0.42,
    )
    rows = [
        # name, focal, centre, yaw, pitch, mounting, shutter before the sweep's end
        ('CAM_FRONT', 1266.4, 816.3, 491.5, 0.3, 0.3, (1.701, 0.016, 1.511), 0.0355),
        ('CAM_FRONT_RIGHT', 1260.8, 808.0, 495.3, -56.4, 0.8, (1.551, -0.493, 1.496), 0.0276),
        ('CAM_FRONT_LEFT', 1272.6, 826.6, 479.8, 55.2, -0.1, (1.524, 0.495, 1.509), 0.0431),
        ('CAM_BACK', 809.2, 829.2, 481.8, 179.9, -1.0, (0.028, 0.003, 1.579), 0.0104),
        ('CAM_BACK_LEFT', 1256.7, 792.1, 492.8, 108.6, 0.9, (1.036, 0.485, 1.591), 0.0005),
        ('CAM_BACK_RIGHT', 1259.5, 807.3, 501.2, -110.8, 0.9, (1.015, -0.481, 1.562), 0.0201),
    ]
    cameras = tuple(
        CameraModel(name, (900, 1600), _pinhole(focal, u, v), look(yaw, pitch, mount), -early_s)
        for name, focal, u, v, yaw, pitch, mount, early_s in rows
    )
    return Rig(lidar, cameras, frame_s=0.5, sweeps_between=9)


# KITTI's calibration of 2011_09_26: the rows of a calib file.
KITTI_P2 = np.array([[721.5377, 0, 609.5593, 44.85728], [0, 721.5377, 172.854, 0.2163791], [0, 0, 1, 0.002745884]])
KITTI_R0_RECT = np.array(
    [
        [0.9999239, 0.00983776, -0.007445048],
        [-0.009869795, 0.9999421, -0.004278459],
        [0.007402527, 0.004351614, 0.9999631],
    ]
)
KITTI_VELO_TO_CAM = np.array(
    [
        [0.007533745, -0.9999714, -0.000616602, -0.004069766],
        [0.01480249, 0.0007280733, -0.9998902, -0.07631618],
        [0.9998621, 0.00752379, 0.01480755, -0.2717806],
    ]
)


def _kitti() -> Rig:
    lidar2ego = rigid(np.eye(3), (0.0, 0.0, 1.73))
    lidar = LidarModel(
        name='velodyne',
        elevations=np.deg2rad(
            np.concatenate([np.linspace(-24.33, -8.83, 32), np.linspace(-8.33, 2.0, 32)])  # two blocks of lasers
        ),
        columns=2000,
        period_s=0.1,
        first_azimuth=-np.pi,
        clockwise=False,
        reference=0.5,
        lidar2ego=lidar2ego,
        range_m=(2.0, 80.0),
        noise_m=0.015,
        dropout=0.03,
        gain=1.3,
    )
    intrinsics = KITTI_P2[:, :3]
    rect2cam = rigid(np.eye(3), tuple(np.linalg.solve(intrinsics, KITTI_P2[:, 3])))
    lidar2rect = rigid(KITTI_R0_RECT, (0, 0, 0)) @ rigid(KITTI_VELO_TO_CAM[:, :3], tuple(KITTI_VELO_TO_CAM[:, 3]))
    cam2ego = lidar2ego @ np.linalg.inv(rect2cam @ lidar2rect)
    camera = CameraModel('image_2', (375, 1242), intrinsics, cam2ego, 0.0)
    return Rig(lidar, (camera,), frame_s=0.1, sweeps_between=0)


def _waymo() -> Rig:
    yaw = np.deg2rad(148.0)
    columns = 2650
    # Published: field of view -17.6 to 2.4 degrees, 64 rows, about 0.6 degrees apart at the bottom and far denser
    # around the horizon. Each car has its own table in its calibration; this one is a smooth stand-in.
    share = np.linspace(0, 1, 64)
    elevations = np.deg2rad(-17.6 + 20.0 * (1 - (1 - share) ** 1.9))
    lidar = LidarModel(
        name='TOP',
        elevations=elevations,
        columns=columns,
        period_s=0.1,
        first_azimuth=np.pi * (1 - 1 / columns) - yaw,  # column 0 looks back in the car's frame
        clockwise=True,
        reference=0.5,
        lidar2ego=rigid(turn_z(yaw), (1.43, 0.0, 2.184)),
        range_m=(1.0, 75.0),
        noise_m=0.012,
        dropout=0.02,
        gain=0.9,
        returns=2,
    )
    rows = [
        ('FRONT', (1280, 1920), 2055.0, 940.0, 640.0, 0.0, 0.0, (1.54, -0.02, 2.115), 0.0),
        ('FRONT_LEFT', (1280, 1920), 2055.0, 960.0, 640.0, 45.0, 0.0, (1.495, 0.095, 2.115), -0.012),
        ('FRONT_RIGHT', (1280, 1920), 2055.0, 960.0, 640.0, -45.0, 0.0, (1.495, -0.125, 2.115), 0.012),
        ('SIDE_LEFT', (886, 1920), 2055.0, 965.0, 240.0, 90.0, 0.0, (1.43, 0.11, 2.115), -0.025),
        ('SIDE_RIGHT', (886, 1920), 2055.0, 950.0, 240.0, -90.0, 0.0, (1.43, -0.15, 2.115), 0.025),
    ]
    cameras = tuple(
        CameraModel(name, size_hw, _pinhole(focal, u, v), look(yaw_deg, pitch, mount), delay_s)
        for name, size_hw, focal, u, v, yaw_deg, pitch, mount, delay_s in rows
    )
    return Rig(lidar, cameras, frame_s=0.1, sweeps_between=0)


NUSCENES, KITTI, WAYMO = _nuscenes(), _kitti(), _waymo()
