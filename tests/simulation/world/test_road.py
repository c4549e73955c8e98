import numpy as np
import pytest

from cleverdistiller.simulation.world.road import LANE_M, Road, make_road


@pytest.fixture(params=range(4))
def road(request) -> Road:
    return make_road(np.random.default_rng(request.param), 300.0, lanes=2)


def test_along_is_measured_on_the_centreline_and_heading_is_its_tangent(road):
    xy, heading = road.at(np.arange(0, 300, 2.0))
    steps = np.diff(xy, axis=0)
    assert np.allclose(np.linalg.norm(steps, axis=1), 2.0, atol=0.01)
    turned = np.arctan2(steps[:, 1], steps[:, 0]) - (heading[:-1] + heading[1:]) / 2
    assert np.abs((turned + np.pi) % (2 * np.pi) - np.pi).max() < 0.02


def test_left_is_left(road):
    (here,), (heading,) = road.at(np.array([100.0]))
    (there,), _ = road.at(np.array([100.0]), 3.0)
    ahead = np.array([np.cos(heading), np.sin(heading)])
    assert ahead[0] * (there - here)[1] - ahead[1] * (there - here)[0] == pytest.approx(3.0)


def test_beyond_its_ends_it_goes_straight_on(road):
    (end, beyond), (heading, same) = road.at(np.array([road.length_m, road.length_m + 40]))
    assert heading == same
    assert np.allclose(beyond - end, 40 * np.array([np.cos(heading), np.sin(heading)]))


@pytest.mark.parametrize('seed', range(20))
def test_a_long_street_never_meets_itself(seed):
    xy = make_road(np.random.default_rng(seed), 600.0, lanes=1).xy_world_m[::10]
    apart = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    far_along = np.abs(np.subtract.outer(np.arange(len(xy)), np.arange(len(xy)))) > 16
    assert apart[far_along].min() > 40


def test_some_streets_bend_and_traffic_keeps_right():
    roads = [make_road(np.random.default_rng(seed), 300.0, lanes=2) for seed in range(8)]
    assert sum(np.ptp(road.heading) > 0.3 for road in roads) >= 4
    assert roads[0].lane_centre_m(0) == -LANE_M / 2 and roads[0].lane_centre_m(1) == -3 * LANE_M / 2
