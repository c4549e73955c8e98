import numpy as np
import pytest
from mesh_checks import assert_closed_and_outward, first_hits

from cleverdistiller.errors import InputError
from cleverdistiller.simulation.surfaces import Material, SurfaceClass
from cleverdistiller.simulation.things import props

S, M = SurfaceClass, Material
# What is made, its classes, some of its materials, least and most height in metres.
THINGS = {
    'tree': (props.tree, {S.TRUNK, S.VEGETATION}, {M.BARK, M.FOLIAGE}, (4, 12.5)),
    'bush': (props.bush, {S.VEGETATION}, {M.FOLIAGE}, (0.4, 2.5)),
    'hedge': (lambda rng: props.hedge(rng, 6.0), {S.VEGETATION}, {M.FOLIAGE}, (0.8, 2)),
    'building': (lambda rng: props.building(rng, 14.0, 9.0, 8.0), {S.BUILDING}, {M.FACADE, M.ROOF}, (8, 14)),
    'brick wall': (lambda rng: props.wall(5.0, 1.8), {S.WALL}, {M.BRICK}, (1.8, 1.8)),
    'concrete wall': (lambda rng: props.wall(5.0, 1.8, M.CONCRETE), {S.WALL}, {M.CONCRETE}, (1.8, 1.8)),
    'wooden fence': (lambda rng: props.fence(5.0), {S.FENCE}, {M.WOOD}, (1.2, 1.2)),
    'metal fence': (lambda rng: props.fence(5.0, 1.5, M.METAL), {S.FENCE}, {M.METAL}, (1.5, 1.5)),
    'pole': (props.pole, {S.POLE}, {M.METAL}, (6, 9.7)),
    'traffic light': (props.traffic_light, {S.POLE, S.TRAFFIC_LIGHT}, {M.METAL, M.DARK_PLASTIC, M.GLASS}, (3, 6.5)),
    'sign': (props.sign, {S.POLE, S.SIGN}, {M.METAL, M.SIGN_FACE}, (2, 3.2)),
    'bench': (lambda rng: props.bench(), {S.FENCE}, {M.WOOD}, (0.7, 1)),
    'bus shelter': (lambda rng: props.bus_shelter(), {S.BUILDING}, {M.GLASS, M.METAL}, (2.3, 2.7)),
}


@pytest.mark.parametrize('name', THINGS)
def test_stands_on_the_ground_with_a_sound_skin_and_is_the_same_again(name):
    make, classes, materials, heights = THINGS[name]
    for seed in range(4):
        mesh = make(np.random.default_rng(seed))
        low, high = mesh.bounds()
        assert -0.1 < low[2] <= 1e-6  # a leaning trunk dips in
        assert heights[0] - 1e-5 <= high[2] <= heights[1] + 1e-5
        assert set(mesh.surface) == classes
        assert materials <= set(mesh.material)
        assert len(mesh) <= 3000
        assert_closed_and_outward(mesh)
        again = make(np.random.default_rng(seed))
        np.testing.assert_array_equal(mesh.vertices_m, again.vertices_m)
        np.testing.assert_array_equal(mesh.triangles, again.triangles)


@pytest.mark.parametrize(
    'make', [props.wall, props.fence, lambda length_m, _: props.hedge(np.random.default_rng(0), length_m)]
)
def test_length_lies_along_x_around_the_origin(make):
    low, high = make(5.0, 1.3).bounds()
    np.testing.assert_allclose([low[0], high[0]], [-2.5, 2.5], atol=1e-5)
    assert abs(low[1]) < 1 > high[1]


def test_fence_has_gaps_and_a_wall_has_none():
    x, z = np.meshgrid(np.linspace(-2.3, 2.3, 173), np.linspace(0.1, 1.0, 10))
    origins = np.stack([x.ravel(), np.full(x.size, 4.0), z.ravel()], 1)
    share = {}
    for name in ('brick wall', 'wooden fence', 'metal fence'):
        hits = first_hits(THINGS[name][0](None), origins, (0.0, -1.0, 0.0))
        share[name] = (hits >= 0).mean()
    assert share['brick wall'] == 1
    assert 0.4 < share['wooden fence'] < 0.8
    assert 0.1 < share['metal fence'] < 0.5


def test_tree_has_its_crown_above_its_trunk_and_both_kinds_grow():
    spreads = []
    for seed in range(12):
        mesh = props.tree(np.random.default_rng(seed))
        z = mesh.vertices_m[mesh.triangles, 2].mean(1)
        assert z[mesh.surface == S.TRUNK].min() < 0.6
        assert z[mesh.surface == S.VEGETATION].mean() > z[mesh.surface == S.TRUNK].mean()
        assert (mesh.material[mesh.surface == S.TRUNK] == M.BARK).all()
        spreads.append(len(mesh))
    assert min(spreads) < 500 < 1500 < max(spreads)  # conifers are of fewer triangles


def test_crown_is_ragged_not_a_balloon():
    """From afar, the outline of a crown changes its distance from the middle abruptly."""
    mesh = props.tree(np.random.default_rng(1))
    leaves = mesh.vertices_m[np.unique(mesh.triangles[mesh.surface == S.VEGETATION])]
    offset = (leaves - leaves.mean(0))[:, [0, 2]]
    angle = ((np.arctan2(*offset.T) + np.pi) / (2 * np.pi) * 72).astype(int) % 72
    outline = np.array([np.linalg.norm(offset[angle == i], axis=1).max(initial=0) for i in range(72)])
    assert (np.abs(np.diff(outline)) > 0.05 * outline.mean()).mean() > 0.3


def test_building_has_the_size_it_was_asked_for():
    for seed in range(6):
        mesh = props.building(np.random.default_rng(seed), 14.0, 9.0, 8.0)
        facade = mesh.vertices_m[mesh.triangles[mesh.material == M.FACADE]].reshape(-1, 3)
        np.testing.assert_allclose(np.ptp(facade, axis=0), [14, 9, 8], atol=1e-5)
        low, high = mesh.bounds()
        assert (low[:2] >= (-8.3, -5.8)).all() and (high[:2] <= (8.3, 5.8)).all()
        door = mesh.vertices_m[mesh.triangles[mesh.material == M.WOOD]].reshape(-1, 3)
        assert door[:, 1].max() < -4.4  # the door is in front


def test_signs_and_lights_look_along_x():
    for seed in range(6):
        sign = props.sign(np.random.default_rng(seed))
        face = sign.vertices_m[sign.triangles[sign.material == M.SIGN_FACE]].reshape(-1, 3)
        assert face[:, 0].max() == pytest.approx(sign.bounds()[1][0])
        light = props.traffic_light(np.random.default_rng(seed))
        (hit,) = first_hits(sign, np.array([[5.0, 0.01, face[:, 2].mean()]]), (-1.0, 0.0, 0.0))
        assert sign.surface[hit] == S.SIGN
        hits = first_hits(light, np.array([[5.0, 0.01, z] for z in (3.2, 2.9, 2.6)]), (-1.0, 0.0, 0.0))
        red, amber, green = light.material[hits]
        assert (red, amber, green) in ((M.TAILLIGHT, M.GLASS, M.GLASS), (M.GLASS, M.ORANGE_PLASTIC, M.GLASS))


def test_arm_of_a_traffic_light_reaches_over_the_lane_that_it_is_for():
    widest = min(props.traffic_light(np.random.default_rng(seed)).bounds()[0][1] for seed in range(8))
    assert -4.8 < widest < -2.4
    assert all(props.traffic_light(np.random.default_rng(seed)).bounds()[1][1] < 0.5 for seed in range(8))


@pytest.mark.parametrize('size', [0.0, -1.0, float('nan')])
def test_sizes_must_be_positive(size):
    rng = np.random.default_rng(0)
    for make in (props.wall, props.fence, lambda a, b: props.building(rng, a, b, 5.0)):
        with pytest.raises(InputError, match='positive'):
            make(size, 1.5)
    with pytest.raises(InputError, match='positive'):
        props.hedge(rng, size)
