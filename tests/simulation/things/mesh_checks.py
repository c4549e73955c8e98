"""What every mesh of the simulated world must satisfy, the slow and obvious way."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from cleverdistiller.simulation.things.mesh import Mesh


def assert_closed_and_outward(mesh: Mesh) -> None:
    """Each edge is used once in each direction, no triangle is a line, each part encloses a positive volume."""
    count = len(mesh.vertices_m)
    triangles = mesh.triangles.astype(np.int64)
    start, end = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    there, back = np.sort(start * count + end), np.sort(end * count + start)
    assert (np.diff(there) > 0).all() and np.array_equal(there, back)
    a, b, c = mesh.vertices_m.astype(float)[triangles].transpose(1, 0, 2)
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 1e-6
    _, part = connected_components(coo_matrix((np.ones(len(start)), (start, end)), (count, count)), directed=False)
    volumes = np.bincount(part[triangles[:, 0]], (a * np.cross(b, c)).sum(1) / 6)
    assert volumes[np.unique(part[triangles[:, 0]])].min() > 0


def first_hits(mesh: Mesh, origins_m: np.ndarray, direction: tuple[float, float, float]) -> np.ndarray:
    """(R,) index of the first triangle on each ray from (R, 3), -1 where it passes."""
    a, b, c = mesh.vertices_m.astype(float)[mesh.triangles].transpose(1, 0, 2)
    one, two, way = b - a, c - a, np.broadcast_to(np.asarray(direction, float), a.shape)
    # Cramer's rule for a + u one + v two = origin + far way.
    offset, determinant = origins_m[:, None] - a, (one * np.cross(way, two)).sum(1)
    solve = lambda column: (offset * column).sum(-1) / np.where(determinant == 0, np.nan, determinant)
    u, v, far = solve(np.cross(way, two)), solve(np.cross(one, way)), solve(np.cross(one, two))
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (far > 0)
    return np.where(hit.any(1), np.where(hit, far, np.inf).argmin(1), -1)
