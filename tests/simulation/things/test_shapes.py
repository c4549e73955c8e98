import numpy as np
import pytest
from mesh_checks import assert_closed_and_outward, first_hits

from cleverdistiller.simulation.surfaces import Material, SurfaceClass
from cleverdistiller.simulation.things.assembly import Assembly
from cleverdistiller.simulation.things.mesh import Mesh, box
from cleverdistiller.simulation.things.shapes import facing_outwards, loft, mirrored, ring, slab, tube, volume_m3

KIND = (SurfaceClass.CAR, Material.METAL)
SQUARE = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], float)


def test_volumes_are_those_of_the_textbook():
    cube = box((1, 2, 3), (5, -5, 5), *KIND)
    assert volume_m3(cube) == pytest.approx(6, rel=1e-5)
    cone = tube((1, 2, 3), (1, 2, 6), 0.5, *KIND, sides=64, end_radius_m=0.25)
    assert volume_m3(cone) == pytest.approx(np.pi * 3 / 3 * (0.5**2 + 0.5 * 0.25 + 0.25**2), rel=5e-3)
    torus = ring(2.0, 0.3, (1, 2, 3), *KIND, sides=64, tube_sides=64)
    assert volume_m3(torus) == pytest.approx(2 * np.pi**2 * 2.0 * 0.3**2, rel=1e-2)
    frustum = loft(np.stack([SQUARE, SQUARE * 0.5 + (0, 0, 1)]), *KIND)
    assert volume_m3(frustum) == pytest.approx((1 + 0.5 + 0.25) / 3, rel=1e-5)
    for mesh in (cube, cone, torus, frustum):
        assert_closed_and_outward(mesh)


@pytest.mark.parametrize('end', [(0, 0, 2), (2, 0, 0), (0, -2, 0), (1, 1, -1)])
def test_tube_reaches_from_its_start_to_its_end(end):
    start, end = np.array([1.0, 2, 3]), np.array([1.0, 2, 3]) + end
    mesh = tube(start, end, 0.1, *KIND, end_radius_m=0.2)
    axis = (end - start) / np.linalg.norm(end - start)
    along = (mesh.vertices_m - start) @ axis
    off = np.linalg.norm((mesh.vertices_m - start) - along[:, None] * axis, axis=1)
    assert along.min() == pytest.approx(0, abs=1e-5) and along.max() == pytest.approx(
        np.linalg.norm(end - start), rel=1e-5
    )
    assert off[along < 0.5].max() == pytest.approx(0.1, rel=1e-4) and off[along > 0.5].max() == pytest.approx(
        0.2, rel=1e-4
    )


def test_slab_stands_proud_on_the_side_from_which_its_corners_run_counter_clockwise():
    low, high = slab(SQUARE, 0.1, *KIND).bounds()
    np.testing.assert_allclose([low[2], high[2]], [0, 0.1], atol=1e-7)
    low, high = slab(SQUARE[::-1], 0.1, *KIND).bounds()
    np.testing.assert_allclose([low[2], high[2]], [-0.1, 0], atol=1e-7)


def test_mirrored_and_turned_skins_still_face_outwards():
    mesh = tube((0, 1, 0), (1, 2, 0), 0.2, *KIND)
    assert_closed_and_outward(mirrored(mesh))
    assert mirrored(mesh).bounds()[1][1] < 0
    inside_out = Mesh(mesh.vertices_m, mesh.triangles[:, ::-1], mesh.surface, mesh.material)
    with pytest.raises(AssertionError):
        assert_closed_and_outward(inside_out)
    assert_closed_and_outward(facing_outwards(inside_out))


def test_assembly_mirrors_and_keeps_one_class():
    parts = Assembly(SurfaceClass.BUS)
    parts.box((1, 1, 1), (0, 3, 0), Material.GLASS, both=True)
    parts.beam((0, 0), (2, 2), (0.2, 0.4), 0.5, Material.METAL)
    parts.polyline([(0, 0, 0), (1, 0, 0), (1, 1, 0)], 0.1, Material.WOOD)
    mesh = parts.mesh()
    assert set(mesh.surface) == {SurfaceClass.BUS}
    assert set(mesh.material) == {Material.GLASS, Material.METAL, Material.WOOD}
    low, high = mesh.bounds()
    assert (low[1], high[1]) == (-3.5, 3.5)
    assert_closed_and_outward(mesh)


def test_first_hits_sees_the_nearest_side_of_a_box():
    mesh = box((2, 2, 2), (0, 0, 0), *KIND)
    hits = first_hits(mesh, np.array([[-5, 0.3, 0.2], [-5, 3, 0]]), (1.0, 0.0, 0.0))
    assert hits[1] == -1
    np.testing.assert_allclose(mesh.vertices_m[mesh.triangles[hits[0]]][:, 0], -1)
