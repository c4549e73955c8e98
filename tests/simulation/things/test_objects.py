import numpy as np
import pytest
from mesh_checks import assert_closed_and_outward, first_hits

from cleverdistiller.errors import InputError
from cleverdistiller.simulation.surfaces import OBJECT_CLASSES, Material, SurfaceClass
from cleverdistiller.simulation.things.objects import GROUND_GAP_M, make_object

# Least and most length, width, height in metres, and what each must be made of.
LIGHTS = {Material.HEADLIGHT, Material.TAILLIGHT}
PERSON = {Material.SKIN, Material.CLOTH_UPPER, Material.CLOTH_LOWER}
EXPECTED = {
    SurfaceClass.CAR: (
        (4.1, 1.75, 1.4),
        (5.3, 2.1, 2.2),
        LIGHTS | {Material.CAR_PAINT, Material.GLASS, Material.RUBBER},
    ),
    SurfaceClass.TRUCK: ((7, 2.4, 2.6), (9.2, 2.7, 3.5), LIGHTS | {Material.CANVAS, Material.GLASS, Material.RUBBER}),
    SurfaceClass.BUS: (
        (10.5, 2.6, 3.1),
        (12.4, 3, 3.5),
        LIGHTS | {Material.CAR_PAINT, Material.GLASS, Material.RUBBER},
    ),
    SurfaceClass.TRAILER: ((9, 2.4, 3.4), (11.1, 2.7, 3.9), {Material.CANVAS, Material.RUBBER, Material.TAILLIGHT}),
    SurfaceClass.CONSTRUCTION_VEHICLE: ((5.5, 2.3, 3), (7.2, 2.9, 3.7), {Material.YELLOW_PAINT, Material.GLASS}),
    SurfaceClass.MOTORCYCLE: ((1.9, 0.7, 1.1), (2.2, 0.9, 1.3), LIGHTS | {Material.RUBBER, Material.METAL}),
    SurfaceClass.MOTORCYCLIST: ((1.9, 0.7, 1.5), (2.2, 0.9, 1.9), LIGHTS | PERSON | {Material.RUBBER}),
    SurfaceClass.BICYCLE: ((1.6, 0.5, 0.9), (1.9, 0.7, 1.15), {Material.RUBBER, Material.METAL, Material.CAR_PAINT}),
    SurfaceClass.BICYCLIST: ((1.6, 0.5, 1.55), (1.9, 0.75, 2), PERSON | {Material.RUBBER, Material.CAR_PAINT}),
    SurfaceClass.PEDESTRIAN: ((0.2, 0.35, 1), (1.1, 0.8, 2), PERSON),
    SurfaceClass.TRAFFIC_CONE: (
        (0.3, 0.3, 0.7),
        (0.5, 0.5, 1.05),
        {Material.ORANGE_PLASTIC, Material.REFLECTIVE_WHITE},
    ),
    SurfaceClass.BARRIER: ((1.5, 0.4, 0.8), (2.5, 0.6, 1.15), set()),
}


def make(surface, seed):
    return make_object(surface, np.random.default_rng(seed))


def test_all_classes_are_looked_at():
    assert set(EXPECTED) == set(OBJECT_CLASSES)


@pytest.mark.parametrize('surface', OBJECT_CLASSES, ids=lambda each: each.name)
def test_box_skin_class_size_and_materials(surface):
    least, most, needed = EXPECTED[surface]
    for seed in range(6):
        model = make(surface, seed)
        low, high = model.mesh.bounds()
        np.testing.assert_allclose(high[:2], model.size_lwh_m[:2] / 2, atol=1e-6)
        np.testing.assert_allclose(low[:2], -model.size_lwh_m[:2] / 2, atol=1e-6)
        np.testing.assert_allclose([low[2], high[2]], [GROUND_GAP_M, GROUND_GAP_M + model.size_lwh_m[2]], atol=1e-6)
        np.testing.assert_allclose(model.middle_m, (low.astype(float) + high) / 2, atol=1e-6)
        assert (model.size_lwh_m >= least).all() and (model.size_lwh_m <= most).all(), model.size_lwh_m
        assert set(model.mesh.surface) == {surface}
        assert needed <= set(model.mesh.material)
        assert set(model.colours) <= set(model.mesh.material)
        assert all(0 <= part <= 1 for rgb in model.colours.values() for part in rgb)
        assert len(model.mesh) <= 3000
        assert_closed_and_outward(model.mesh)


@pytest.mark.parametrize('surface', OBJECT_CLASSES, ids=lambda each: each.name)
def test_a_seed_makes_the_same_thing_again_and_another_seed_another(surface):
    once, again = make(surface, 7), make(surface, 7)
    for name in ('vertices_m', 'triangles', 'surface', 'material'):
        np.testing.assert_array_equal(getattr(once.mesh, name), getattr(again.mesh, name))
    assert once.colours == again.colours
    others = [make(surface, seed) for seed in range(3)]
    assert any(not np.array_equal(other.size_lwh_m, once.size_lwh_m) for other in others)


@pytest.mark.parametrize(
    'surface', [each for each in EXPECTED if EXPECTED[each][2] >= LIGHTS], ids=lambda each: each.name
)
def test_headlights_are_ahead_and_tail_lights_behind(surface):
    model = make(surface, 0)
    x = lambda material: model.mesh.vertices_m[model.mesh.triangles[model.mesh.material == material], 0]
    assert x(Material.HEADLIGHT).min() > 0.25 * model.size_lwh_m[0]
    assert x(Material.TAILLIGHT).max() < -0.25 * model.size_lwh_m[0]


@pytest.mark.parametrize('seed', range(4))
def test_car_shows_glass_on_all_four_sides_and_wheels_below(seed):
    model = make(SurfaceClass.CAR, seed)
    length, width, height = model.size_lwh_m
    spread, z = np.linspace(-0.15, 0.15, 9), np.full(9, 0.78 * height)
    for toward in (1, -1):
        sides = np.stack([spread * length, np.full(9, -5.0 * toward), z], 1), (0, toward, 0)
        ends = np.stack([np.full(9, -9.0 * toward), spread * width, z], 1), (toward, 0, 0)
        for origins, direction in (sides, ends):
            hits = first_hits(model.mesh, origins, direction)
            assert (model.mesh.material[hits] == Material.GLASS).mean() > 0.6
    low = np.stack(np.broadcast_arrays(np.linspace(-0.5, 0.5, 60) * length, 5.0, 0.2), 1)
    hits = first_hits(model.mesh, low, (0, -1, 0))
    rubber = (hits >= 0) & np.isin(model.mesh.material[hits], [Material.RUBBER, Material.METAL])
    assert (np.diff(rubber.astype(int)) == 1).sum() == 2  # two wheels, apart


def test_bicycle_is_open_but_can_be_hit():
    model = make(SurfaceClass.BICYCLE, 0)
    length, _, height = model.size_lwh_m
    x, z = np.meshgrid(np.linspace(-0.5, 0.5, 30) * length, GROUND_GAP_M + np.linspace(0, 1, 20) * height)
    hits = first_hits(model.mesh, np.stack([x.ravel(), np.full(x.size, 5.0), z.ravel()], 1), (0, -1, 0))
    assert 0.1 < (hits >= 0).mean() < 0.6


def test_riders_sit_on_their_machines():
    for surface in (SurfaceClass.BICYCLIST, SurfaceClass.MOTORCYCLIST):
        model = make(surface, 3)
        z = model.mesh.vertices_m[model.mesh.triangles, 2]
        lowest = {material: z[model.mesh.material == material].min() for material in set(model.mesh.material)}
        assert lowest[Material.RUBBER] == pytest.approx(GROUND_GAP_M, abs=0.01)
        assert lowest[Material.CLOTH_LOWER] > 0.1
        assert lowest[Material.CLOTH_UPPER] > 0.7
        assert z[model.mesh.material == Material.SKIN].max() > 1.3


def test_children_and_strides_occur():
    sizes = np.array([make(SurfaceClass.PEDESTRIAN, seed).size_lwh_m for seed in range(40)])
    assert (sizes[:, 2] < 1.45).any() and (sizes[:, 2] > 1.7).any()
    assert (sizes[:, 0] < 0.45).any() and (sizes[:, 0] > 0.75).any()


def test_what_has_no_box_is_refused():
    with pytest.raises(InputError, match=r'ROAD.*(.|\n)*CAR.*(.|\n)*props'):
        make(SurfaceClass.ROAD, 0)
