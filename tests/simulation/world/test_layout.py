import numpy as np
import pytest

from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.things.objects import make_object
from cleverdistiller.simulation.world.actor import Actor
from cleverdistiller.simulation.world.layout import Layout


def actor(along, lateral, speed=(0.0, 0.0), turn=0.0, surface=SurfaceClass.CAR) -> Actor:
    return Actor(1, surface, make_object(surface, np.random.default_rng(0)), along, lateral, speed, turn, False)


@pytest.fixture
def layout(scene) -> Layout:
    return Layout(scene.ground, 5.0, (95.0, -1.75, 8.0))


def test_two_cannot_stand_in_one_place(layout):
    assert layout.claim(actor(150, 1.75))
    assert not layout.claim(actor(153, 1.75))
    assert layout.claim(actor(160, 1.75))


def test_neighbouring_lanes_are_free(layout):
    assert layout.claim(actor(150, 1.75)) and layout.claim(actor(150, 5.25))


def test_nobody_is_put_in_the_way_of_the_recording_car(layout):
    assert not layout.claim(actor(110, -1.75))
    assert layout.claim(actor(110, -1.75, speed=(8.0, 0.0)))  # drives on before it comes


def test_paths_may_cross_at_different_times_only(layout):
    assert layout.claim(actor(180, 1.75, speed=(-10.0, 0.0), turn=np.pi))
    walker = dict(surface=SurfaceClass.PEDESTRIAN, turn=-np.pi / 2)
    assert not layout.claim(actor(160, 4.75, speed=(0.0, -1.5), **walker))  # meets the car after two seconds
    assert layout.claim(actor(160, 9.0, speed=(0.0, -1.5), **walker))


def test_a_strip_is_taken_whole_or_not_at_all(scene, layout):
    ends, _ = scene.road.at(np.array([120.0, 150.0]), 30.0)
    assert layout.claim_strip(ends, 4.0)
    (inside, outside), _ = scene.road.at(np.array([135.0, 135.0]), np.array([31.0, 36.0]))
    assert not layout.claim_disc(inside, 0.5) and layout.claim_disc(outside, 0.5)
    assert not layout.claim_strip(ends, 1.0)
