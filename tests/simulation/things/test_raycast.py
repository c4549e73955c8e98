import numpy as np
import pytest

from cleverdistiller.simulation.surfaces import Material, SurfaceClass
from cleverdistiller.simulation.things.mesh import Mesh, box, ellipsoid
from cleverdistiller.simulation.things.raycast import NOTHING, MeshIndex


def slow_cast(mesh: Mesh, origin: np.ndarray, direction: np.ndarray) -> tuple[float, int]:
    """Every triangle, one by one."""
    best = (np.inf, NOTHING)
    for k, (a, b, c) in enumerate(mesh.vertices_m[mesh.triangles.astype(int)].astype(float)):
        system = np.stack([b - a, c - a, -direction], 1)
        if abs(np.linalg.det(system)) < 1e-12:
            continue
        u, v, t = np.linalg.solve(system, origin - a)
        if u >= 0 and v >= 0 and u + v <= 1 and t > 0:
            best = min(best, (t, k))
    return best


@pytest.fixture
def mesh() -> Mesh:
    parts = SurfaceClass.CAR, Material.METAL
    return Mesh.join([box((2, 1, 1), (4, 0, 0), *parts), ellipsoid((1, 1, 2), (0, 5, 0), *parts)])


def test_equals_a_loop_over_all_triangles(mesh):
    rng = np.random.default_rng(0)
    origins = rng.normal(0, 0.3, (200, 3))
    directions = rng.normal([1, 1, 0], [2, 2, 0.3], (200, 3))
    distance, triangle = MeshIndex(mesh).cast(origins, directions)
    expected = [slow_cast(mesh, *ray) for ray in zip(origins.astype(np.float32), directions.astype(np.float32))]
    assert 20 < (triangle != NOTHING).sum() < 170
    assert np.allclose(distance, [t for t, _ in expected], rtol=1e-4)
    assert (triangle == [k for _, k in expected]).mean() > 0.98  # a shared edge may belong to either
    assert ((triangle == NOTHING) == np.isinf(distance)).all()


def test_blocked_says_whether_anything_is_hit(mesh):
    rng = np.random.default_rng(1)
    origins, directions = rng.normal(0, 0.3, (300, 3)), rng.normal(size=(300, 3))
    index = MeshIndex(mesh)
    assert (index.blocked(origins, directions) == (index.cast(origins, directions)[1] != NOTHING)).all()
