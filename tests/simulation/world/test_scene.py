import numpy as np
import pytest
from shapely.geometry import Polygon

from cleverdistiller.simulation.sensors.lidar import scan
from cleverdistiller.simulation.sensors.rigs import NUSCENES
from cleverdistiller.simulation.surfaces import OBJECT_CLASSES, SurfaceClass
from cleverdistiller.simulation.world.scene import SEEN_M, Scene

# What nuScenes calls its 16 classes, by the surfaces that fall into them.
S = SurfaceClass
NUSCENES_CLASSES = [
    {S.BARRIER}, {S.BICYCLE, S.BICYCLIST}, {S.BUS}, {S.CAR}, {S.CONSTRUCTION_VEHICLE}, {S.MOTORCYCLE, S.MOTORCYCLIST},
    {S.PEDESTRIAN}, {S.TRAFFIC_CONE}, {S.TRAILER}, {S.TRUCK}, {S.ROAD, S.LANE_MARKING, S.PARKING}, {S.OTHER_FLAT},
    {S.SIDEWALK, S.CURB}, {S.TERRAIN}, {S.BUILDING, S.WALL, S.FENCE, S.POLE, S.SIGN, S.TRAFFIC_LIGHT},
    {S.VEGETATION, S.TRUNK},
]  # fmt: skip


def outline(state) -> Polygon:
    length, width = state.size_lwh_m[:2]
    corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * (length, width) / 2
    cos, sin = np.cos(state.yaw_world), np.sin(state.yaw_world)
    return Polygon(corners @ [[cos, sin], [-sin, cos]] + state.centre_world_m[:2])


def test_the_same_seed_is_the_same_scene_and_another_is_not(scene):
    again, other = Scene(0, 0, 5.0), Scene(1, 0, 5.0)
    assert np.array_equal(scene.fixed.mesh.vertices_m, again.fixed.mesh.vertices_m)
    assert np.array_equal(scene.fixed_colour, again.fixed_colour)
    assert list(scene.actors) == list(again.actors) and scene.sun.tolist() == again.sun.tolist()
    for one, two in zip(scene.objects_at(1.0), again.objects_at(1.0)):
        assert one.instance == two.instance and np.array_equal(one.centre_world_m, two.centre_world_m)
    assert scene.fixed.mesh.vertices_m.shape != other.fixed.mesh.vertices_m.shape


@pytest.mark.parametrize('time_s', [0.0, 1.1, 2.3, 3.7, 4.9])
def test_nothing_stands_in_anything_and_the_car_hits_nobody(scene, time_s):
    outlines = [outline(state) for state in scene.objects_at(time_s)]
    pose = scene.ego2world(np.array([time_s]))[0]
    corners = np.array([[-0.8, 0.85], [3.3, 0.85], [3.3, -0.85], [-0.8, -0.85]])
    outlines.append(Polygon(corners @ pose[:2, :2].T + pose[:2, 3]))
    for i, one in enumerate(outlines):
        for two in outlines[:i]:
            assert one.intersection(two).area < 0.1 * min(one.area, two.area)


def test_objects_are_those_near_the_car_and_move_at_their_velocity(scene):
    here = scene.ego2world(np.array([1.0]))[0, :2, 3]
    now = {state.instance: state for state in scene.objects_at(1.0)}
    soon = {state.instance: state for state in scene.objects_at(1.1)}
    assert all(np.linalg.norm(state.centre_world_m[:2] - here) < SEEN_M for state in now.values())
    assert any(np.linalg.norm(state.velocity_world_mps) > 3 for state in now.values())
    for instance in now.keys() & soon.keys():
        moved = (soon[instance].centre_world_m - now[instance].centre_world_m)[:2]
        assert np.allclose(moved, 0.1 * now[instance].velocity_world_mps[:2], atol=0.02)


def test_boxes_hold_the_meshes(scene):
    for state in scene.objects_at(2.0)[:40]:
        index, _ = scene.shape(state.instance)
        vertices = index.mesh.vertices_m @ state.object2world[:3, :3].T + scene.origin_of(state)
        inside = (vertices - state.centre_world_m) @ state.object2world[:3, :3]
        assert (np.abs(inside) <= state.size_lwh_m / 2 + 1e-4).all()
        assert np.allclose(np.abs(inside).max(0), state.size_lwh_m / 2, atol=1e-3)


def test_the_car_drives_on_the_road_with_its_wheels_on_the_ground(scene):
    poses = scene.ego2world(np.linspace(-0.1, 5.0, 30))
    assert np.allclose(poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(poses[:, :3, :3]), 1)
    _, lateral, side_street, height = scene.ground.look_up(poses[:, :2, 3])
    assert (scene.ground.edge_distance(lateral, side_street) < -1).all()
    assert np.abs(poses[:, 2, 3] - height).max() < 0.05
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert np.allclose(steps, scene.speed_mps * 5.1 / 29, rtol=0.03)


def test_every_class_of_nuscenes_is_hit_in_the_default_set():
    seen: set[int] = set()
    for index in range(8):
        world = Scene(0, index, 5.0)
        assert {actor.surface for actor in world.actors.values()} == set(OBJECT_CLASSES)
        for time_s in (1.0, 3.5):
            seen |= set(scan(world, NUSCENES.lidar, time_s).surface.tolist())
    assert [group for group in NUSCENES_CLASSES if not group & seen] == []
