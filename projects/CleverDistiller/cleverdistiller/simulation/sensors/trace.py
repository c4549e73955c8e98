"""What rays meet in a scene: nearest surface of the fixed world and of every object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cleverdistiller.simulation.surfaces import Material, SurfaceClass
from cleverdistiller.simulation.things import appearance
from cleverdistiller.simulation.things.raycast import NOTHING, MeshIndex
from cleverdistiller.simulation.world.scene import Scene

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
    surface, material = np.empty((2, len(rows)), np.uint8)
    normal, colour = np.empty((2, len(rows), 3), np.float32)
    texture = point.copy()

    is_ground = (owner == 0) & (triangle < scene.ground_triangles)
    ground = np.flatnonzero(is_ground)
    near = triangle[ground] < scene.ground_triangles - HORIZON_TRIANGLES
    what, of = scene.ground.surface(point[ground, :2])
    surface[ground] = np.where(near, what, SurfaceClass.TERRAIN)
    material[ground] = np.where(near, of, Material.GRASS)
    normal[ground] = (0, 0, 1)  # the grid would show as facets
    colour[ground] = appearance.COLOUR[material[ground]]

    other = np.flatnonzero((owner == 0) & ~is_ground)
    _fill(scene.fixed, scene.fixed_colour, triangle, other, surface, material, normal, colour)
    owned = np.flatnonzero(owner)
    owned = owned[np.argsort(owner[owned], kind='stable')]
    names = [visit.instance for visit in visits]
    starts, ends = (np.searchsorted(owner[owned], names, side) for side in ('left', 'right'))
    place = np.zeros(len(directions), np.int64)
    for visit, start, end in zip(visits, starts, ends):
        mine = owned[start:end]
        if not len(mine):
            continue
        _fill(visit.index, visit.colour, triangle, mine, surface, material, normal, colour)
        normal[mine] = normal[mine] @ visit.rotation.T.astype(np.float32)
        origin = visit.origin_world_m
        if origin.ndim == 2:  # of the rays that hit, among those that might have
            place[visit.rows] = np.arange(len(visit.rows))
            origin = origin[place[rows[mine]]]
        texture[mine] = (point[mine] - origin) @ visit.rotation
    away = np.flatnonzero(np.einsum('ij,ij->i', normal, towards) > 0)
    normal[away] *= -1
    return Hits(rows, distance, point, texture, normal, colour, surface, material, owner, alone)


def _fill(
    index: MeshIndex,
    index_colour: np.ndarray,
    triangle: np.ndarray,
    rows: np.ndarray,
    surface: np.ndarray,
    material: np.ndarray,
    normal: np.ndarray,
    colour: np.ndarray,
) -> None:
    """Copy what is known of the triangles that ``rows`` met."""
    at = triangle[rows]
    surface[rows], material[rows] = index.mesh.surface[at], index.mesh.material[at]
    normal[rows], colour[rows] = index.normals[at], index_colour[at]
