"""Triangle meshes with a class and a material for every triangle, and the few shapes that things are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cleverdistiller.simulation.surfaces import Material, SurfaceClass


@dataclass(frozen=True)
class Mesh:
    """Triangles in metres; x forward, y left, z up for a thing's own frame.

    Args:
        vertices_m (np.ndarray): (V, 3) float32.
        triangles (np.ndarray): (T, 3) uint32 rows of ``vertices_m``, counter-clockwise from outside.
        surface (np.ndarray): (T,) uint8, :class:`SurfaceClass`.
        material (np.ndarray): (T,) uint8, :class:`Material`.
    """

    vertices_m: np.ndarray
    triangles: np.ndarray
    surface: np.ndarray
    material: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.triangles)
        if self.surface.shape != (count,) or self.material.shape != (count,):
            raise ValueError(f'Mesh: got {self.surface.shape}, {self.material.shape}; expected a label a triangle')

    def __len__(self) -> int:
        return len(self.triangles)

    @staticmethod
    def join(meshes: Iterable[Mesh]) -> Mesh:
        """Put several meshes into one."""
        meshes = list(meshes)
        starts = np.cumsum([0] + [len(mesh.vertices_m) for mesh in meshes[:-1]])
        return Mesh(
            np.concatenate([mesh.vertices_m for mesh in meshes]).astype(np.float32),
            np.concatenate([mesh.triangles + start for mesh, start in zip(meshes, starts)]).astype(np.uint32),
            np.concatenate([mesh.surface for mesh in meshes]),
            np.concatenate([mesh.material for mesh in meshes]),
        )

    def moved(
        self, offset_m: Iterable[float] = (0, 0, 0), yaw: float = 0.0, scale: Iterable[float] = (1, 1, 1)
    ) -> Mesh:
        """Scale, then turn about z by ``yaw`` radians, then shift."""
        cos, sin = np.cos(yaw), np.sin(yaw)
        rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        vertices = (self.vertices_m * np.asarray(scale)) @ rotation.T + np.asarray(offset_m)
        return Mesh(vertices.astype(np.float32), self.triangles, self.surface, self.material)

    def turned(self, axis: int, angle: float) -> Mesh:
        """Turn about coordinate axis 0, 1 or 2 by ``angle`` radians."""
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        rotation = np.eye(3)
        rotation[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        return Mesh((self.vertices_m @ rotation.T).astype(np.float32), self.triangles, self.surface, self.material)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner, (3,) each."""
        return self.vertices_m.min(0), self.vertices_m.max(0)


def from_faces(vertices: Iterable, triangles: Iterable, surface: SurfaceClass, material: Material) -> Mesh:
    """One class and one material for all triangles."""
    triangles = np.asarray(triangles, np.uint32)
    return Mesh(
        np.asarray(vertices, np.float32),
        triangles,
        np.full(len(triangles), surface, np.uint8),
        np.full(len(triangles), material, np.uint8),
    )


def box(size_m: Iterable[float], centre_m: Iterable[float], surface: SurfaceClass, material: Material) -> Mesh:
    """A cuboid along the axes."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return from_faces(corners * np.asarray(size_m) + np.asarray(centre_m), triangles, surface, material)


def extrude(
    profile_xz: Iterable, width_m: float, surface: SurfaceClass, material: Material, top_width_m: float | None = None
) -> Mesh:
    """A side view swept across the car, symmetric about y = 0.

    Args:
        profile_xz (Iterable): (K, 2) corners of a convex outline, clockwise seen from the right (-y) side or the
            other way round.
        width_m (float): Across, at the outline's lowest point.
        surface (SurfaceClass): Class.
        material (Material): Material.
        top_width_m (float | None): Across at its highest point; None for ``width_m``.
    """
    outline = np.asarray(profile_xz, float)
    x, z = outline.T
    if ((x * np.roll(z, -1)) - (np.roll(x, -1) * z)).sum() > 0:
        outline = outline[::-1]
        x, z = outline.T
    share = (z - z.min()) / max(np.ptp(z), 1e-9)
    half = (width_m + ((top_width_m or width_m) - width_m) * share) / 2
    k = len(outline)
    left, right = np.stack([x, half, z], 1), np.stack([x, -half, z], 1)
    ring = [t for i in range(k) for j in [(i + 1) % k] for t in ((i, j, i + k), (j, j + k, i + k))]
    caps = [(0, i + 1, i) for i in range(1, k - 1)] + [(k, k + i, k + i + 1) for i in range(1, k - 1)]
    return _outwards(from_faces(np.concatenate([left, right]), ring + caps, surface, material))


def cylinder(
    radius_m: float,
    height_m: float,
    surface: SurfaceClass,
    material: Material,
    sides: int = 10,
    top_radius_m: float | None = None,
) -> Mesh:
    """Standing on z = 0 about the z axis; with another ``top_radius_m`` a cone."""
    angle = np.arange(sides) * 2 * np.pi / sides
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    top = radius_m if top_radius_m is None else top_radius_m
    lower = np.concatenate([circle * radius_m, np.zeros((sides, 1))], 1)
    upper = np.concatenate([circle * top, np.full((sides, 1), height_m)], 1)
    vertices = np.concatenate([lower, upper, [[0, 0, 0], [0, 0, height_m]]])
    triangles = []
    for i in range(sides):
        j = (i + 1) % sides
        triangles += [(i, j, j + sides), (i, j + sides, i + sides)]
        triangles += [(j, i, 2 * sides), (i + sides, j + sides, 2 * sides + 1)]
    return from_faces(vertices, triangles, surface, material)


def wheel(radius_m: float, width_m: float, centre_m: Iterable[float], surface: SurfaceClass) -> Mesh:
    """A tyre with a metal disc, its axle along y."""
    tyre = cylinder(radius_m, width_m, surface, Material.RUBBER, 14).moved((0, 0, -width_m / 2))
    disc = cylinder(radius_m * 0.6, width_m * 1.04, surface, Material.METAL, 10).moved((0, 0, -width_m * 0.52))
    return Mesh.join([tyre, disc]).turned(0, np.pi / 2).moved(centre_m)


def ellipsoid(
    radii_m: Iterable[float],
    centre_m: Iterable[float],
    surface: SurfaceClass,
    material: Material,
    rings: int = 6,
    sides: int = 10,
    bumps: np.ndarray | None = None,
) -> Mesh:
    """A ball, squeezed; ``bumps`` (rings - 1, sides) scales the radius at each vertex between the poles."""
    polar = np.linspace(0, np.pi, rings + 1)[1:-1, None]
    angle = np.arange(sides)[None] * 2 * np.pi / sides
    ball = np.stack(
        np.broadcast_arrays(np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar)), -1
    )
    if bumps is not None:
        ball = ball * bumps[..., None]
    vertices = np.concatenate([ball.reshape(-1, 3), [[0, 0, 1], [0, 0, -1]]])
    at = lambda ring, side: ring * sides + side % sides
    triangles = []
    for side in range(sides):
        triangles += [(at(0, side), at(0, side + 1), len(vertices) - 2)]
        triangles += [(at(rings - 2, side + 1), at(rings - 2, side), len(vertices) - 1)]
        for ring in range(rings - 2):
            a, b, c, d = at(ring, side), at(ring + 1, side), at(ring + 1, side + 1), at(ring, side + 1)
            triangles += [(a, b, c), (a, c, d)]
    return from_faces(vertices * np.asarray(radii_m) + np.asarray(centre_m), triangles, surface, material)


def _outwards(mesh: Mesh) -> Mesh:
    """Turn triangles of a convex body that face its middle."""
    corners = mesh.vertices_m[mesh.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inwards = ((corners.mean(1) - mesh.vertices_m.mean(0)) * normals).sum(1) < 0
    triangles = mesh.triangles.copy()
    triangles[inwards] = triangles[inwards][:, ::-1]
    return Mesh(mesh.vertices_m, triangles, mesh.surface, mesh.material)
