"""A sweep as Waymo stores it: images with a row for each beam, a column for each step of the turn."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from waymo_open_dataset.dataset_pb2 import CameraName
from waymo_open_dataset.protos.segmentation_pb2 import Segmentation

from cleverdistiller.simulation.frame import CameraImage, LidarScan
from cleverdistiller.simulation.sensors.rigs import CameraModel, LidarModel
from cleverdistiller.simulation.surfaces import SurfaceClass

NO_RETURN = -1.0
OUTSIDE_NO_LABEL_ZONES = -1.0
NO_ELONGATION = 0.0  # the shape of a pulse is not simulated
BRIGHTEST = 0.9999  # of the intensity, which is unbounded above in Waymo's records
EDGE_PX = 0.5  # Waymo's 0 is the outer edge of the first pixel; that of ``CameraModel`` is its middle

_SEGMENTATION_OF = {
    SurfaceClass.SKY: Segmentation.TYPE_UNDEFINED,  # no ray ends there
    SurfaceClass.ROAD: Segmentation.TYPE_ROAD,
    SurfaceClass.LANE_MARKING: Segmentation.TYPE_LANE_MARKER,
    SurfaceClass.PARKING: Segmentation.TYPE_ROAD,  # "surface a vehicle could drive on"
    SurfaceClass.CURB: Segmentation.TYPE_CURB,
    SurfaceClass.SIDEWALK: Segmentation.TYPE_SIDEWALK,
    SurfaceClass.OTHER_FLAT: Segmentation.TYPE_OTHER_GROUND,
    SurfaceClass.TERRAIN: Segmentation.TYPE_WALKABLE,  # horizontal and not for cars, such as grass
    SurfaceClass.BUILDING: Segmentation.TYPE_BUILDING,
    SurfaceClass.WALL: Segmentation.TYPE_BUILDING,  # Waymo's camera classes say: buildings, walls, solid fences
    SurfaceClass.FENCE: Segmentation.TYPE_BUILDING,
    SurfaceClass.VEGETATION: Segmentation.TYPE_VEGETATION,
    SurfaceClass.TRUNK: Segmentation.TYPE_TREE_TRUNK,
    SurfaceClass.POLE: Segmentation.TYPE_POLE,
    SurfaceClass.SIGN: Segmentation.TYPE_SIGN,
    SurfaceClass.TRAFFIC_LIGHT: Segmentation.TYPE_TRAFFIC_LIGHT,
    SurfaceClass.CAR: Segmentation.TYPE_CAR,
    SurfaceClass.TRUCK: Segmentation.TYPE_TRUCK,
    SurfaceClass.BUS: Segmentation.TYPE_BUS,
    SurfaceClass.TRAILER: Segmentation.TYPE_OTHER_VEHICLE,
    SurfaceClass.CONSTRUCTION_VEHICLE: Segmentation.TYPE_OTHER_VEHICLE,
    SurfaceClass.MOTORCYCLE: Segmentation.TYPE_MOTORCYCLE,
    SurfaceClass.MOTORCYCLIST: Segmentation.TYPE_MOTORCYCLIST,
    SurfaceClass.BICYCLE: Segmentation.TYPE_BICYCLE,
    SurfaceClass.BICYCLIST: Segmentation.TYPE_BICYCLIST,
    SurfaceClass.PEDESTRIAN: Segmentation.TYPE_PEDESTRIAN,
    SurfaceClass.TRAFFIC_CONE: Segmentation.TYPE_CONSTRUCTION_CONE,
    SurfaceClass.BARRIER: Segmentation.TYPE_UNDEFINED,  # none of the 22 classes takes in movable barriers
}

# (28,) int32: SurfaceClass to Segmentation.Type.
SEGMENTATION_ID = np.array([_SEGMENTATION_OF[surface] for surface in SurfaceClass], np.int32)


def to_images(scan: LidarScan, lidar: LidarModel, values: np.ndarray, empty: float) -> np.ndarray:
    """Lay values of points out as one image for each return.

    Args:
        scan (LidarScan): N points.
        lidar (LidarModel): What measured them, with R beams.
        values (np.ndarray): (N, C), of any type.
        empty (float): What pixels without a point get.

    Returns:
        np.ndarray: (returns, R, columns, C); row 0 is the highest beam, column 0 looks back and the next ones go
        clockwise.
    """
    rows = len(lidar.elevations)
    images = np.full((lidar.returns, rows, lidar.columns, values.shape[1]), empty, values.dtype)
    images[scan.echo, rows - 1 - scan.ring.astype(np.intp), scan.column] = values
    return images


def range_images(scan: LidarScan, lidar: LidarModel) -> np.ndarray:
    """Range, intensity, elongation and no-label zone of every pixel.

    Args:
        scan (LidarScan): The sweep.
        lidar (LidarModel): What measured it, with R beams.

    Returns:
        np.ndarray: (returns, R, columns, 4) float32. Range in metres; everyone reads Waymo's intensity through tanh,
        which gives the simulated 0..1 back.
    """
    intensity = np.arctanh(np.minimum(scan.intensity, BRIGHTEST))
    constants = np.broadcast_to([NO_ELONGATION, OUTSIDE_NO_LABEL_ZONES], (len(scan), 2))
    values = np.column_stack([scan.range_m, intensity, constants]).astype(np.float32)
    return to_images(scan, lidar, values, NO_RETURN)


def segmentation_images(scan: LidarScan, lidar: LidarModel) -> np.ndarray:
    """(returns, R, columns, 2) int32: instance and ``Segmentation.Type`` of every pixel, 0 where there is none."""
    return to_images(scan, lidar, np.column_stack([scan.instance, SEGMENTATION_ID[scan.surface]]).astype(np.int32), 0)


def pose_image(ego2world: np.ndarray, rows: int) -> np.ndarray:
    """Where the car was when each pixel was fired.

    Args:
        ego2world (np.ndarray): (columns, 4, 4) at each column's firing time.
        rows (int): R, the beams, which fire together.

    Returns:
        np.ndarray: (R, columns, 6) float32 roll, pitch, yaw in radians (applied in that order) and x, y, z in metres.
    """
    rotation = ego2world[:, :3, :3]
    roll = np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    pitch = -np.arcsin(np.clip(rotation[:, 2, 0], -1, 1))
    yaw = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    pose = np.column_stack([roll, pitch, yaw, ego2world[:, :3, 3]]).astype(np.float32)
    return np.broadcast_to(pose, (rows, *pose.shape))


def camera_projections(
    points_world_m: np.ndarray, cameras: Iterable[CameraModel], images: dict[str, CameraImage]
) -> np.ndarray:
    """In which pixels of which images points lie, whether or not something stands in front of them.

    Args:
        points_world_m (np.ndarray): (N, 3).
        cameras (Iterable[CameraModel]): In the order of precedence.
        images (dict[str, CameraImage]): Camera's name to image.

    Returns:
        np.ndarray: (N, 6) int32: ``CameraName``, column and row in the first camera that has the point, then in the
        second; 0 for none.
    """
    found = np.zeros((len(points_world_m), 2, 3), np.int32)
    taken = np.zeros(len(points_world_m), np.intp)
    for camera in cameras:
        world2cam = np.linalg.inv(images[camera.name].ego2world @ camera.cam2ego)
        points_cam_m = points_world_m @ world2cam[:3, :3].T + world2cam[:3, 3]
        free = np.flatnonzero((points_cam_m[:, 2] > 0) & (taken < 2))
        uv_px = pixels(points_cam_m[free], camera)
        inside = ((uv_px >= 0) & (uv_px < camera.size_hw[::-1])).all(1)
        free = free[inside]
        found[free, taken[free], 0] = CameraName.Name.Value(camera.name)
        found[free, taken[free], 1:] = uv_px[inside]  # the fraction falls away: the pixel that the point lies in
        taken[free] += 1
    return found.reshape(-1, 6)


def pixels(points_cam_m: np.ndarray, camera: CameraModel) -> np.ndarray:
    """(N, 2) column and row of (N, 3) points in front of a camera, as Waymo counts them: from the image's edges."""
    homogeneous = points_cam_m @ camera.cam2img.T
    return homogeneous[:, :2] / homogeneous[:, 2:] + EDGE_PX
