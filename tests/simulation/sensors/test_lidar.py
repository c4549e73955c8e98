import dataclasses

import numpy as np
import pytest

from cleverdistiller.simulation.sensors import lidar as module
from cleverdistiller.simulation.sensors.lidar import scan
from cleverdistiller.simulation.sensors.rigs import KITTI, NUSCENES, WAYMO, LidarModel
from cleverdistiller.simulation.surfaces import OBJECT_CLASSES


@pytest.fixture(scope='module', params=['nuscenes', 'kitti', 'waymo'])
def swept(request, scene):
    sensor = {'nuscenes': NUSCENES, 'kitti': KITTI, 'waymo': WAYMO}[request.param].lidar
    sensor = dataclasses.replace(sensor, columns=sensor.columns // 4)
    return sensor, scan(scene, sensor, 1.5)


def seen_when_fired(scene, sensor: LidarModel, swept) -> np.ndarray:
    """(N, 3) points in the sensor's frame at the moment of their own beam, one at a time."""
    lidar2world = swept.ego2world @ sensor.lidar2ego
    moments = scene.ego2world(swept.time_s + swept.fired_s.astype(float)) @ sensor.lidar2ego
    points = []
    for point, moment in zip(swept.points_lidar_m, moments):
        world = lidar2world @ [*point, 1]
        points.append((np.linalg.inv(moment) @ world)[:3])
    return np.array(points)


def test_each_point_lies_on_its_own_beam(scene, swept):
    sensor, points = swept
    some = np.random.default_rng(0).choice(len(points), 2000, replace=False)
    few = dataclasses.replace(points, **{f.name: getattr(points, f.name)[some] for f in dataclasses.fields(points)[2:]})
    x, y, z = seen_when_fired(scene, sensor, few).T
    distance = np.sqrt(x * x + y * y + z * z)
    turned = np.arctan2(y, x) - sensor.azimuths()[few.column]
    assert np.abs((turned + np.pi) % (2 * np.pi) - np.pi).max() < 2e-4
    assert np.abs(np.arcsin(z / distance) - sensor.elevations[few.ring]).max() < 2e-4
    assert np.abs(distance - few.range_m).max() < 1e-3
    assert np.allclose(few.fired_s, sensor.delays_s()[few.column], atol=1e-6)


def test_without_the_correction_the_drive_would_show(scene, swept):
    sensor, points = swept
    travelled = scene.speed_mps * np.ptp(points.fired_s)
    x, y, _ = points.points_lidar_m.T.astype(float)
    turned = np.arctan2(y, x) - sensor.azimuths()[points.column]
    off = np.abs((turned + np.pi) % (2 * np.pi) - np.pi) * np.hypot(x, y)
    assert 0.3 * travelled < off.max() < 1.5 * travelled


def test_range_noise_is_that_of_the_sensor(scene, swept, monkeypatch):
    sensor, points = swept
    quiet = scan(scene, dataclasses.replace(sensor, noise_m=1e-9), 1.5)
    key = lambda s: {(r, c): d for r, c, d, e in zip(s.ring, s.column, s.range_m, s.echo) if e == 0}
    one, two = key(points), key(quiet)
    errors = np.array([one[k] - two[k] for k in one.keys() & two.keys()])
    assert errors.std() == pytest.approx(sensor.noise_m, rel=0.05) and abs(errors.mean()) < sensor.noise_m / 20


def test_points_come_column_by_column_from_the_lowest_beam_up(swept):
    sensor, points = swept
    first = points.echo == 0
    order = points.column[first].astype(int) * len(sensor.elevations) + points.ring[first]
    assert (np.diff(order) > 0).all()


def test_intensity_range_and_labels_are_plausible(swept):
    sensor, points = swept
    assert points.intensity.min() >= 0 and points.intensity.max() <= 1 and 0.03 < points.intensity.mean() < 0.4
    assert sensor.range_m[0] < points.range_m.min() and points.range_m.max() < sensor.range_m[1]
    assert ((points.instance > 0) == np.isin(points.surface, OBJECT_CLASSES)).all()
    rays = sensor.columns * len(sensor.elevations)
    assert 0.5 < (points.echo == 0).sum() / rays < 0.98  # some look at the sky, some are lost


def test_second_returns_lie_behind_first_ones(swept):
    sensor, points = swept
    second = points.echo == 1
    if sensor.returns == 1:
        assert not second.any()
        return
    first = {(r, c): d for r, c, d in zip(points.ring[~second], points.column[~second], points.range_m[~second])}
    beyond = [d - first[r, c] for r, c, d in zip(points.ring[second], points.column[second], points.range_m[second])]
    assert len(beyond) > 100 and min(beyond) > module.BEHIND_M - 8 * sensor.noise_m


def test_the_same_moment_gives_the_same_scan(scene):
    sensor = dataclasses.replace(NUSCENES.lidar, columns=200)
    one, two, other = (scan(scene, sensor, time_s) for time_s in (0.5, 0.5, 0.55))
    assert np.array_equal(one.points_lidar_m, two.points_lidar_m) and np.array_equal(one.intensity, two.intensity)
    assert len(one) != len(other) or not np.array_equal(one.points_lidar_m, other.points_lidar_m)
