"""Waymo's boxes: of objects that the LiDAR met, the same in the images, and of what the images show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import find_objects
from waymo_open_dataset.dataset_pb2 import CameraLabels, CameraName
from waymo_open_dataset.label_pb2 import Label

from cleverdistiller.simulation.boxes import CORNERS, before_the_camera
from cleverdistiller.simulation.frame import CameraImage, ObjectState, SimulatedFrame
from cleverdistiller.simulation.sensors.rigs import CameraModel, Rig
from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.writers.waymo_lidar import pixels

FARTHEST_M = 75.0
FEW_POINTS = 5  # at most so many make a box hard (LEVEL_2)

# Motorcycles are vehicles with and without a rider; bicycles without one, cones and barriers have no boxes; signs
# have them in real records, but are no objects here.
LABEL_TYPE = {
    SurfaceClass.CAR: Label.TYPE_VEHICLE,
    SurfaceClass.TRUCK: Label.TYPE_VEHICLE,
    SurfaceClass.BUS: Label.TYPE_VEHICLE,
    SurfaceClass.TRAILER: Label.TYPE_VEHICLE,
    SurfaceClass.CONSTRUCTION_VEHICLE: Label.TYPE_VEHICLE,
    SurfaceClass.MOTORCYCLE: Label.TYPE_VEHICLE,
    SurfaceClass.MOTORCYCLIST: Label.TYPE_VEHICLE,
    SurfaceClass.BICYCLIST: Label.TYPE_CYCLIST,
    SurfaceClass.PEDESTRIAN: Label.TYPE_PEDESTRIAN,
}


def laser_labels(frame: SimulatedFrame, rig: Rig, name_of: Callable[[int], str]) -> list[Label]:
    """Boxes of the objects within 75 m that at least one point of the sweep belongs to and lies in.

    Args:
        frame (SimulatedFrame): The frame.
        rig (Rig): The car that saw it.
        name_of (Callable[[int], str]): Instance to the object's name in the records.

    Returns:
        list[Label]: In the vehicle's frame of the sweep, with ``center_z`` in the middle of the box; counts are of all
        points in it, the road's too; speeds are along the world's axes. ``camera_synced_box`` is where the object was
        at the shutter of the camera that sees most of it.
    """
    scan = frame.scan
    world2vehicle = np.linalg.inv(scan.ego2world)
    points_vehicle_m = _moved(scan.points_lidar_m, rig.lidar.lidar2ego)
    labels = []
    for state in frame.objects:
        if state.surface not in LABEL_TYPE:
            continue
        centre_m = _moved(state.centre_world_m, world2vehicle)
        own = scan.instance == state.instance
        if np.hypot(*centre_m[:2]) > FARTHEST_M or not own.any():
            continue
        heading = _heading(state.yaw_world, world2vehicle)
        inside = _indices_inside(points_vehicle_m, centre_m, state.size_lwh_m, heading)
        if not own[inside].any():
            continue
        count = len(inside)
        speed = state.velocity_world_mps
        label = Label(
            box=_box_3d(centre_m, state.size_lwh_m, heading),
            metadata=Label.Metadata(speed_x=speed[0], speed_y=speed[1], speed_z=speed[2]),
            type=LABEL_TYPE[state.surface],
            id=name_of(state.instance),
            detection_difficulty_level=Label.LEVEL_2 if count <= FEW_POINTS else Label.LEVEL_1,
            num_lidar_points_in_box=count,
            num_top_lidar_points_in_box=count,
        )
        camera = _most_visible_camera(state.instance, frame.images)
        if camera:
            delay_s = frame.images[camera].time_s - state.time_s
            synced_m = centre_m + world2vehicle[:3, :3] @ state.velocity_world_mps * delay_s
            label.most_visible_camera_name = camera
            label.camera_synced_box.CopyFrom(_box_3d(synced_m, state.size_lwh_m, heading))
        labels.append(label)
    return labels


def projected_labels(
    frame: SimulatedFrame, rig: Rig, name_of: Callable[[int], str], labels: list[Label]
) -> list[CameraLabels]:
    """The rectangle around each box in each image, clipped to the image.

    Args:
        frame (SimulatedFrame): The frame.
        rig (Rig): The car that saw it.
        name_of (Callable[[int], str]): Instance to the object's name in the records.
        labels (list[Label]): What ``laser_labels`` made of them.

    Returns:
        list[CameraLabels]: One for each camera; an object's id ends in the camera's name. Boxes out of view are left
        out.
    """
    labelled = {label.id for label in labels}
    states = [state for state in frame.objects if name_of(state.instance) in labelled]
    projected = []
    for camera in rig.cameras:
        image = frame.images[camera.name]
        here = CameraLabels(name=CameraName.Name.Value(camera.name))
        for state in states:
            extent_px = projected_extent(state, image, camera)
            if extent_px is not None:
                here.labels.add(
                    box=_box_2d(*extent_px),
                    type=LABEL_TYPE[state.surface],
                    id=f'{name_of(state.instance)}_{camera.name}',
                )
        projected.append(here)
    return projected


def camera_labels(
    frame: SimulatedFrame, rig: Rig, name_of: Callable[[int], str], labels: list[Label]
) -> list[CameraLabels]:
    """The rectangle around each object's visible pixels in each image.

    Args:
        frame (SimulatedFrame): The frame.
        rig (Rig): The car that saw it.
        name_of (Callable[[int], str]): Instance to the object's name in the records.
        labels (list[Label]): What ``laser_labels`` made; camera labels of the same objects are linked to them.

    Returns:
        list[CameraLabels]: One for each camera.
    """
    labelled = {label.id for label in labels}
    kinds = {state.instance: state.surface for state in frame.objects if state.surface in LABEL_TYPE}
    found = []
    for camera in rig.cameras:
        here = CameraLabels(name=CameraName.Name.Value(camera.name))
        for instance, area in enumerate(find_objects(frame.images[camera.name].instance), start=1):
            if area is None or instance not in kinds:
                continue
            rows, columns = area
            name = name_of(instance)
            label = here.labels.add(
                box=_box_2d(columns.start, rows.start, columns.stop, rows.stop),
                type=LABEL_TYPE[kinds[instance]],
                id=f'{name}-camera-{camera.name}',
            )
            if name in labelled:
                label.association.laser_object_id = name
        found.append(here)
    return found


def projected_extent(
    state: ObjectState, image: CameraImage, camera: CameraModel
) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of a box in an image, in pixels.

    Args:
        state (ObjectState): The object; it goes on at its speed until the shutter opens.
        image (CameraImage): The exposure.
        camera (CameraModel): The camera.

    Returns:
        tuple[float, float, float, float] | None: Clipped to the image; None if nothing of the box is in view.
    """
    corners_world_m = _moved(CORNERS * state.size_lwh_m, state.object2world)
    corners_world_m = corners_world_m + state.velocity_world_mps * (image.time_s - state.time_s)
    corners_m = _moved(corners_world_m, np.linalg.inv(image.ego2world @ camera.cam2ego))  # (8, 3) camera frame
    before = before_the_camera(corners_m)
    if not len(before):
        return None
    uv_px = pixels(before, camera)
    size_px = np.array(camera.size_hw[::-1])
    (left, top), (right, bottom) = np.clip(uv_px.min(0), 0, size_px), np.clip(uv_px.max(0), 0, size_px)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _most_visible_camera(instance: int, images: dict[str, CameraImage]) -> str | None:
    seen_px = {name: image.visible_px.get(instance, (0, 0))[0] for name, image in images.items()}
    best = max(seen_px, key=seen_px.get)
    return best if seen_px[best] else None


def _moved(points_m: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points_m @ matrix[:3, :3].T + matrix[:3, 3]


def _heading(yaw_world: float, world2vehicle: np.ndarray) -> float:
    """Yaw in the vehicle's frame, in [-pi, pi); the car may stand on a slope."""
    ahead = world2vehicle[:2, :3] @ [np.cos(yaw_world), np.sin(yaw_world), 0]
    heading = np.arctan2(ahead[1], ahead[0])
    return -np.pi if heading == np.pi else heading


def _indices_inside(points_m: np.ndarray, centre_m: np.ndarray, size_lwh_m: np.ndarray, heading: float) -> np.ndarray:
    reach_m = np.linalg.norm(size_lwh_m) / 2
    near = np.flatnonzero(np.abs(points_m[:, 0] - centre_m[0]) <= reach_m)  # most points are far from most boxes
    near = near[np.abs(points_m[near, 1] - centre_m[1]) <= reach_m]
    x, y, z = (points_m[near] - centre_m).T
    cos, sin = np.cos(heading), np.sin(heading)
    offset_m = np.column_stack([x * cos + y * sin, y * cos - x * sin, z])  # along, across, up
    return near[(np.abs(offset_m) <= np.asarray(size_lwh_m) / 2).all(1)]


def _box_3d(centre_m: np.ndarray, size_lwh_m: np.ndarray, heading: float) -> Label.Box:
    (x, y, z), (length, width, height) = centre_m, size_lwh_m
    return Label.Box(center_x=x, center_y=y, center_z=z, length=length, width=width, height=height, heading=heading)


def _box_2d(left: float, top: float, right: float, bottom: float) -> Label.Box:
    """In images Waymo's length is the extent along a row, and its width the one along a column."""
    return Label.Box(center_x=(left + right) / 2, center_y=(top + bottom) / 2, length=right - left, width=bottom - top)
