import numpy as np
import pytest

from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.things.mesh import Mesh
from cleverdistiller.simulation.things.raycast import MeshIndex
from cleverdistiller.simulation.world.ground import LAND, LAND_NAMES

S = SurfaceClass


def slow_place_on_road(road, xy) -> tuple[float, float]:
    """Along and lateral position by looking at every segment of the centreline."""
    best = (np.inf, 0.0, 0.0)
    for i, (start, end) in enumerate(zip(road.xy_world_m[:-1], road.xy_world_m[1:])):
        step = end - start
        share = np.clip((xy - start) @ step / (step @ step), 0, 1)
        offset = xy - start - share * step
        side = np.sign(step[0] * (xy - start)[1] - step[1] * (xy - start)[0])
        best = min(best, (float(np.linalg.norm(offset)), (i + share) * 0.5, side * float(np.linalg.norm(offset))))
    return best[1], best[2]


def away_from_junctions(road) -> float:
    return next(a for a in np.arange(70.0, 200, 0.5) if min(abs(a - s) for s in road.side_streets_m) > 25)


def test_the_table_knows_where_on_the_road_a_place_is(scene):
    rng = np.random.default_rng(0)
    along, lateral = rng.uniform(60, 180, 40), rng.uniform(-12, 12, 40)
    xy, _ = scene.road.at(along, lateral)
    found = scene.ground.look_up(xy)
    for i, place in enumerate(xy):
        slow = slow_place_on_road(scene.road, place)
        assert found[0, i] == pytest.approx(slow[0], abs=0.25)
        assert found[1, i] == pytest.approx(slow[1], abs=0.03)


def test_from_the_middle_outwards_come_paint_lane_kerb_sidewalk_and_land(scene):
    ground, road = scene.ground, scene.road
    left = road.half_widths_m[0]
    along = away_from_junctions(road)
    laterals = np.array([0.12, 1.75, left + 0.1, left + 1.5, left + ground.sidewalk_m + 1])
    xy, _ = road.at(np.full(5, along), laterals)
    surface, _ = ground.surface(xy)
    use = LAND_NAMES[ground.block(np.array([along]), np.array([10.0]))[0]]
    assert surface.tolist() == [S.LANE_MARKING, S.ROAD, S.CURB, S.SIDEWALK, LAND[use][0]]


def test_a_crossing_is_striped_across_the_road(scene):
    crossing = scene.road.crossings_m[0]
    xy, _ = scene.road.at(np.full(60, crossing), np.linspace(-3, 3, 60))
    surface, _ = scene.ground.surface(xy)
    changes = (np.diff(surface == S.LANE_MARKING) != 0).sum()
    assert set(surface.tolist()) == {S.LANE_MARKING, S.ROAD} and 10 <= changes <= 14  # six stripes and six gaps


def test_the_kerb_lies_above_the_road(scene):
    half = scene.road.half_widths_m[0]
    xy, _ = scene.road.at(np.full(2, away_from_junctions(scene.road)), np.array([half - 0.6, half + 1.4]))
    below, above = scene.ground.height(xy)
    assert 0.08 < above - below < 0.18


def test_the_mesh_is_the_height_field(scene):
    ground = scene.ground
    mesh = ground.mesh()
    rng = np.random.default_rng(0)
    xy = rng.uniform((1, 1), np.array(ground.extent_m) - 1, (3000, 2))
    origins = np.concatenate([xy, np.full((3000, 1), 50.0)], 1)
    distance, _ = MeshIndex(mesh).cast(origins, np.tile([0.0, 0.0, -1.0], (3000, 1)))
    assert np.abs(50 - distance - ground.height(xy)).max() < 0.06  # within the kerb's cells
    assert np.percentile(np.abs(50 - distance - ground.height(xy)), 95) < 0.01
    assert isinstance(mesh, Mesh) and len(mesh) < ground.table[0].numel()  # two triangles a cell without merging


def test_the_map_shows_the_carriageways(scene):
    pixels = scene.drivable_map(0.5)
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, pixels.shape[0], 2000), rng.integers(0, pixels.shape[1], 2000)
    xy = np.stack([(cols + 0.5) * 0.5, (pixels.shape[0] - rows - 0.5) * 0.5], 1)
    _, lateral, side_street, _ = scene.ground.look_up(xy)
    edge = scene.ground.edge_distance(lateral, side_street)
    clear = np.abs(edge) > 0.3
    assert (pixels[rows, cols] == (edge < 0))[clear].all()
    assert 0.02 < pixels.mean() < 0.3
