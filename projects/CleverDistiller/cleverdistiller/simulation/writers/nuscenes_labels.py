"""nuScenes' words for what the simulated world holds: categories, attributes, levels of visibility."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cleverdistiller.simulation.frame import CameraImage, ObjectState
from cleverdistiller.simulation.surfaces import SurfaceClass

# A name's position is its id in a lidarseg mask. The 23 categories of boxes are among them.
CATEGORIES = (
    'noise',
    'animal',
    'human.pedestrian.adult',
    'human.pedestrian.child',
    'human.pedestrian.construction_worker',
    'human.pedestrian.personal_mobility',
    'human.pedestrian.police_officer',
    'human.pedestrian.stroller',
    'human.pedestrian.wheelchair',
    'movable_object.barrier',
    'movable_object.debris',
    'movable_object.pushable_pullable',
    'movable_object.trafficcone',
    'static_object.bicycle_rack',
    'vehicle.bicycle',
    'vehicle.bus.bendy',
    'vehicle.bus.rigid',
    'vehicle.car',
    'vehicle.construction',
    'vehicle.emergency.ambulance',
    'vehicle.emergency.police',
    'vehicle.motorcycle',
    'vehicle.trailer',
    'vehicle.truck',
    'flat.driveable_surface',
    'flat.other',
    'flat.sidewalk',
    'flat.terrain',
    'static.manmade',
    'static.other',
    'static.vegetation',
    'vehicle.ego',
)

ATTRIBUTES = (
    'vehicle.moving',
    'vehicle.stopped',
    'vehicle.parked',
    'cycle.with_rider',
    'cycle.without_rider',
    'pedestrian.sitting_lying_down',
    'pedestrian.standing',
    'pedestrian.moving',
)

# Token of the visibility table to its level; mmdet3d's converter knows these tokens by heart.
VISIBILITIES = {'1': 'v0-40', '2': 'v40-60', '3': 'v60-80', '4': 'v80-100'}

MOVING_MPS = 0.2  # slower things stand

_CATEGORY_OF = {
    SurfaceClass.SKY: 'noise',  # no ray ends there
    SurfaceClass.ROAD: 'flat.driveable_surface',
    SurfaceClass.LANE_MARKING: 'flat.driveable_surface',
    SurfaceClass.PARKING: 'flat.driveable_surface',
    SurfaceClass.CURB: 'flat.sidewalk',
    SurfaceClass.SIDEWALK: 'flat.sidewalk',
    SurfaceClass.OTHER_FLAT: 'flat.other',
    SurfaceClass.TERRAIN: 'flat.terrain',
    SurfaceClass.BUILDING: 'static.manmade',
    SurfaceClass.WALL: 'static.manmade',
    SurfaceClass.FENCE: 'static.manmade',
    SurfaceClass.VEGETATION: 'static.vegetation',
    SurfaceClass.TRUNK: 'static.vegetation',
    SurfaceClass.POLE: 'static.manmade',
    SurfaceClass.SIGN: 'static.manmade',
    SurfaceClass.TRAFFIC_LIGHT: 'static.manmade',
    SurfaceClass.CAR: 'vehicle.car',
    SurfaceClass.TRUCK: 'vehicle.truck',
    SurfaceClass.BUS: 'vehicle.bus.rigid',
    SurfaceClass.TRAILER: 'vehicle.trailer',
    SurfaceClass.CONSTRUCTION_VEHICLE: 'vehicle.construction',
    SurfaceClass.MOTORCYCLE: 'vehicle.motorcycle',
    SurfaceClass.MOTORCYCLIST: 'vehicle.motorcycle',
    SurfaceClass.BICYCLE: 'vehicle.bicycle',
    SurfaceClass.BICYCLIST: 'vehicle.bicycle',
    SurfaceClass.PEDESTRIAN: 'human.pedestrian.adult',
    SurfaceClass.TRAFFIC_CONE: 'movable_object.trafficcone',
    SurfaceClass.BARRIER: 'movable_object.barrier',
}

# (28,) uint8: SurfaceClass to lidarseg id.
LIDARSEG_ID = np.array([CATEGORIES.index(_CATEGORY_OF[surface]) for surface in SurfaceClass], np.uint8)


def category_of(surface: SurfaceClass) -> str:
    """Name of the category of a surface, which is also that of its object's box."""
    return _CATEGORY_OF[surface]


def attribute_of(state: ObjectState) -> str | None:
    """What an object is doing, or None for kinds that nuScenes gives no attribute (cones, barriers)."""
    kind, *_, name = category_of(state.surface).split('.')
    moves = np.linalg.norm(state.velocity_world_mps) > MOVING_MPS
    if kind == 'human':
        return 'pedestrian.moving' if moves else 'pedestrian.standing'
    if kind != 'vehicle':
        return None
    if name in ('bicycle', 'motorcycle'):
        return 'cycle.without_rider' if state.parked else 'cycle.with_rider'
    if state.parked:
        return 'vehicle.parked'
    return 'vehicle.moving' if moves else 'vehicle.stopped'


def visibility_of(instance: int, images: Iterable[CameraImage]) -> str:
    """Token of the level that the share of an object's visible pixels reaches, over all cameras together.

    An object in no camera's field of view is at the lowest level: none of it is seen.
    """
    counts = [image.visible_px[instance] for image in images if instance in image.visible_px]
    seen_px, whole_px = np.sum(counts, axis=0) if counts else (0, 0)
    percent = 100 * seen_px / whole_px if whole_px else 0
    return str(1 + sum(percent >= limit for limit in (40, 60, 80)))
