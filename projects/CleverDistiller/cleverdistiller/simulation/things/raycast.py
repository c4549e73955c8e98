"""Rays against the world: one fixed part, and objects that each keep their own frame.

An object's mesh is indexed once, in its own frame; to move the object, rays are moved the other way. So every ray can
see every object where it is at the ray's own time.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from cleverdistiller.simulation.things.mesh import Mesh

NOTHING = -1


class MeshIndex:
    """Triangles that rays can be cast at.

    Args:
        mesh (Mesh): The triangles.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._scene = EmbreeScene()
        TriangleMesh(self._scene, np.ascontiguousarray(mesh.vertices_m), mesh.triangles.astype(np.int32))

    @cached_property
    def normals(self) -> np.ndarray:
        """(T, 3) float32 unit normals of the triangles."""
        corners = self.mesh.vertices_m[self.mesh.triangles.astype(np.int64)]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        return (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)).astype(np.float32)

    def cast(self, origins_m: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the first triangle along each ray.

        Args:
            origins_m (np.ndarray): (N, 3) float32.
            directions (np.ndarray): (N, 3) float32, of any length.

        Returns:
            tuple[np.ndarray, np.ndarray]: (N,) float32 distance in lengths of the direction, inf for none; (N,) int32
            triangle, ``NOTHING`` for none.
        """
        found = self._scene.run(
            np.ascontiguousarray(origins_m, np.float32), np.ascontiguousarray(directions, np.float32), output=True
        )
        triangle = found['primID']
        return np.where(triangle == NOTHING, np.float32(np.inf), found['tfar']), triangle

    def blocked(self, origins_m: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(N,) bool: whether anything lies along each ray."""
        hit = self._scene.run(
            np.ascontiguousarray(origins_m, np.float32), np.ascontiguousarray(directions, np.float32), query='OCCLUDED'
        )
        return hit != NOTHING
