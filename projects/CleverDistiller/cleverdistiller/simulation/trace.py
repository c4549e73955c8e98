"""What rays meet in a scene: nearest surface of the fixed world and of every object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cleverdistiller.simulation import appearance
from cleverdistiller.simulation.raycast import NOTHING, MeshIndex
from cleverdistiller.simulation.scene import Scene

HORIZON_TRIANGLES = 2  # the last ones of the ground's mesh


@dataclass(frozen=True)
class Visit:
    """An object, and the rays that may meet it.

    Args:
        instance (int): Whose.
        index (MeshIndex): Its triangles in its own frame.
        colour (np.ndarray): (T, 3) linear RGB of its triangles.
        rows (np.ndarray): (R,) rays.
        rotation (np.ndarray): (3, 3) object to world.
        origin_world_m (np.ndarray): (3,) or (R, 3) where the object's frame is when each ray flies.
    """

    instance: int
    index: MeshIndex
    colour: np.ndarray
    rows: np.ndarray
    rotation: np.ndarray
    origin_world_m: np.ndarray


@dataclass(frozen=True)
class Hits:
    """The rays that met something, K of N.

    Args:
        rows (np.ndarray): (K,) int64 rays, ascending.
        distance (np.ndarray): (K,) float32 in lengths of the ray's direction.
        point_world_m (np.ndarray): (K, 3) float32.
        texture_m (np.ndarray): (K, 3) float32 in the frame of what was hit: it moves with an object.
        normal_world (np.ndarray): (K, 3) float32 unit vectors, towards the ray's origin.
        colour (np.ndarray): (K, 3) float32 linear RGB before texture and light.
        surface, material (np.ndarray): (K,) uint8.
        instance (np.ndarray): (K,) uint16.
        alone (dict[int, int]): Instance to the number of rays that would meet it if nothing else were there.
    """

    rows: np.ndarray
    distance: np.ndarray
    point_world_m: np.ndarray
    texture_m: np.ndarray
    normal_world: np.ndarray
    colour: np.ndarray
    surface: np.ndarray
    material: np.ndarray
    instance: np.ndarray
    alone: dict[int, int]


def trace(scene: Scene, origins_m: np.ndarray, directions: np.ndarray, visits: Iterable[Visit]) -> Hits:
    """Cast rays at the fixed world and at objects.

    Args:
        scene (Scene): The fixed world.
        origins_m (np.ndarray): (N, 3) float32 world.
        directions (np.ndarray): (N, 3) float32 world, of any length.
        visits (Iterable[Visit]): The objects.

    Returns:
        Hits: What was met first.
    """
    distance, triangle = scene.fixed.cast(origins_m, directions)
    owner = np.zeros(len(distance), np.uint16)
    visits, alone = list(visits), {}
    for visit in visits:
        from_m = (origins_m[visit.rows] - visit.origin_world_m) @ visit.rotation
        found, at = visit.index.cast(from_m, directions[visit.rows] @ visit.rotation)
        alone[visit.instance] = int((at != NOTHING).sum())
        nearer = found < distance[visit.rows]
        rows = visit.rows[nearer]
        distance[rows], triangle[rows], owner[rows] = found[nearer], at[nearer], visit.instance

    rows = np.flatnonzero(triangle != NOTHING)
    distance, triangle, owner = distance[rows], triangle[rows], owner[rows]
    towards = directions[rows]
    point = origins_m[rows] + towards * distance[:, None]
    fixed = scene.fixed
    triangle_of_fixed = np.where(owner == 0, triangle, 0)
    surface = fixed.mesh.surface[triangle_of_fixed]
    material = fixed.mesh.material[triangle_of_fixed]
    normal = fixed.normals[triangle_of_fixed]
    colour = scene.fixed_colour[triangle_of_fixed]
    texture = point.copy()

    on_ground = np.flatnonzero((owner == 0) & (triangle < scene.ground_triangles))
    near = on_ground[triangle[on_ground] < scene.ground_triangles - HORIZON_TRIANGLES]
    surface[near], material[near] = scene.ground.surface(point[near, :2])
    normal[on_ground] = (0, 0, 1)  # a grid would show as facets
    colour[on_ground] = appearance.COLOUR[material[on_ground]]
    order = np.argsort(owner, kind='stable')
    starts = np.searchsorted(owner[order], [visit.instance for visit in visits], 'left')
    ends = np.searchsorted(owner[order], [visit.instance for visit in visits], 'right')
    place = np.zeros(len(directions), np.int64)
    for visit, start, end in zip(visits, starts, ends):
        mine = order[start:end]
        if not len(mine):
            continue
        at = triangle[mine]
        surface[mine], material[mine] = visit.index.mesh.surface[at], visit.index.mesh.material[at]
        normal[mine] = visit.index.normals[at] @ visit.rotation.T.astype(np.float32)
        colour[mine] = visit.colour[at]
        origin = visit.origin_world_m
        if origin.ndim == 2:  # of the rays that hit, among those that might have
            place[visit.rows] = np.arange(len(visit.rows))
            origin = origin[place[rows[mine]]]
        texture[mine] = (point[mine] - origin) @ visit.rotation
    away = (normal * towards).sum(1) > 0
    normal[away] *= -1
    return Hits(rows, distance, point, texture, normal, colour, surface, material, owner, alone)
