"""More shapes that things are made of: tubes, rings, panels and lofts, each closed and facing outwards."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cleverdistiller.simulation.surfaces import Material, SurfaceClass
from cleverdistiller.simulation.things.mesh import Mesh, cylinder, from_faces


def tube(
    start_m: Iterable[float],
    end_m: Iterable[float],
    radius_m: float,
    surface: SurfaceClass,
    material: Material,
    sides: int = 6,
    end_radius_m: float | None = None,
) -> Mesh:
    """A round bar from one point to another.

    Args:
        start_m (Iterable): (3,) middle of the one end.
        end_m (Iterable): (3,) middle of the other.
        radius_m (float): At the start.
        surface (SurfaceClass): Class.
        material (Material): Material.
        sides (int): Of its cross-section.
        end_radius_m (float | None): At the end; None for ``radius_m``.
    """
    start, end = np.asarray(start_m, float), np.asarray(end_m, float)
    length = np.linalg.norm(end - start)
    upright = cylinder(radius_m, length, surface, material, sides, end_radius_m)
    axis = (end - start) / length
    helper = np.array([0.0, 1.0, 0.0]) if abs(axis[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    across = np.cross(helper, axis)
    across /= np.linalg.norm(across)
    rotation = np.stack([across, np.cross(axis, across), axis], 1)
    vertices = upright.vertices_m @ rotation.T + start
    return Mesh(vertices.astype(np.float32), upright.triangles, upright.surface, upright.material)


def ring(
    radius_m: float,
    tube_radius_m: float,
    centre_m: Iterable[float],
    surface: SurfaceClass,
    material: Material,
    sides: int = 18,
    tube_sides: int = 5,
) -> Mesh:
    """A torus whose axle lies along y: a tyre, seen through.

    Args:
        radius_m (float): From the axle to the middle of the tube.
        tube_radius_m (float): Of the tube.
        centre_m (Iterable): (3,).
        surface (SurfaceClass): Class.
        material (Material): Material.
        sides (int): Around the axle.
        tube_sides (int): Around the tube.
    """
    around = (np.arange(sides) * 2 * np.pi / sides)[:, None]
    section = (np.arange(tube_sides) * 2 * np.pi / tube_sides)[None]
    distance = radius_m + tube_radius_m * np.cos(section)
    rim = np.broadcast_arrays(distance * np.cos(around), tube_radius_m * np.sin(section), distance * np.sin(around))
    vertices = np.stack(rim, -1).reshape(-1, 3) + np.asarray(centre_m)
    return facing_outwards(from_faces(vertices, _band(sides, tube_sides, closed=True), surface, material))


def loft(sections_m: np.ndarray, surface: SurfaceClass, material: Material) -> Mesh:
    """A skin over outlines that follow each other, closed by a lid at both ends.

    Args:
        sections_m (np.ndarray): (S, K, 3) outlines; the first and the last are flat and seen whole from their middle.
        surface (SurfaceClass): Class.
        material (Material): Material.
    """
    sections = np.asarray(sections_m, float)
    count, size = sections.shape[:2]
    middles = sections[[0, -1]].mean(1)
    first, last = count * size, (count - 1) * size
    lids = [(first, (i + 1) % size, i) for i in range(size)]
    lids += [(first + 1, last + i, last + (i + 1) % size) for i in range(size)]
    triangles = np.concatenate([_band(count, size, closed=False), lids])
    return facing_outwards(from_faces(np.concatenate([sections.reshape(-1, 3), middles]), triangles, surface, material))


def slab(corners_m: Iterable, thickness_m: float, surface: SurfaceClass, material: Material) -> Mesh:
    """A flat convex panel: a pane on a wall.

    Args:
        corners_m (Iterable): (K, 3) corners of its inner side, counter-clockwise from outside.
        thickness_m (float): How far it stands proud.
        surface (SurfaceClass): Class.
        material (Material): Material.
    """
    corners = np.asarray(corners_m, float)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    return loft(np.stack([corners, corners + normal * (thickness_m / np.linalg.norm(normal))]), surface, material)


def mirrored(mesh: Mesh) -> Mesh:
    """The same on the other side of the plane y = 0."""
    return Mesh(mesh.vertices_m * np.float32([1, -1, 1]), mesh.triangles[:, ::-1], mesh.surface, mesh.material)


def volume_m3(mesh: Mesh) -> float:
    """What the skin encloses, in cubic metres; negative if it is inside out."""
    a, b, c = mesh.vertices_m.astype(float)[mesh.triangles].transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6)


def facing_outwards(mesh: Mesh) -> Mesh:
    """Turn a closed skin that is inside out."""
    if volume_m3(mesh) > 0:
        return mesh
    return Mesh(mesh.vertices_m, mesh.triangles[:, ::-1], mesh.surface, mesh.material)


def _band(count: int, size: int, closed: bool) -> np.ndarray:
    """(T, 3) triangles between ``count`` outlines of ``size`` points; ``closed`` joins the last to the first."""
    i, j = np.meshgrid(np.arange(count if closed else count - 1), np.arange(size), indexing='ij')
    a, b = i * size + j, i * size + (j + 1) % size
    c, d = (i + 1) % count * size + (j + 1) % size, (i + 1) % count * size + j
    return np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
