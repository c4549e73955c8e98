import dataclasses

import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter

from cleverdistiller.simulation.sensors import camera as camera_module
from cleverdistiller.simulation.sensors.camera import expose
from cleverdistiller.simulation.sensors.lidar import scan
from cleverdistiller.simulation.sensors.rigs import KITTI, NUSCENES, WAYMO, CameraModel, with_smaller_images
from cleverdistiller.simulation.sensors.trace import Visit, trace
from cleverdistiller.simulation.surfaces import SurfaceClass


def shrunk(camera: CameraModel, by: int) -> CameraModel:
    rows, cols = camera.size_hw
    return dataclasses.replace(
        camera, size_hw=(rows // by, cols // by), cam2img=np.diag([1 / by, 1 / by, 1]) @ camera.cam2img
    )


FRONT = shrunk(NUSCENES.cameras[0], 4)


@pytest.fixture(scope='module')
def picture(scene):
    return expose(scene, FRONT, 1.5)


def test_a_pixel_shows_what_its_own_ray_meets(scene, picture):
    rng = np.random.default_rng(0)
    cam2world = picture.ego2world @ FRONT.cam2ego
    v, u = rng.integers(0, FRONT.size_hw, (600, 2)).T
    rays = np.stack([u, v, np.ones(600)], 1) @ np.linalg.inv(FRONT.cam2img).T @ cam2world[:3, :3].T
    origins = np.tile(cam2world[:3, 3], (600, 1))
    visits = [
        Visit(s.instance, *scene.shape(s.instance), np.arange(600), s.object2world[:3, :3], scene.origin_of(s))
        for s in scene.objects_at(1.5)
    ]
    hits = trace(scene, origins.astype(np.float32), rays.astype(np.float32), visits)
    surface, instance, depth = np.zeros(600), np.zeros(600), np.full(600, np.inf)
    surface[hits.rows], instance[hits.rows], depth[hits.rows] = hits.surface, hits.instance, hits.distance
    same = (picture.surface[v, u] == surface) & (picture.instance[v, u] == instance)
    on_grid = (u % 2 == 0) & (v % 2 == 0)
    assert same[on_grid].all() and same.mean() > 0.99  # between grid pixels a thin thing may slip through
    far = np.isinf(depth[same])
    assert (np.isinf(picture.depth_m[v, u][same]) == far).all() and far.any()
    right = np.isclose(picture.depth_m[v, u][same][~far], depth[same][~far], rtol=5e-3)
    assert right.mean() > 0.99  # the grid's inverse depth bends over a kerb


def test_objects_that_are_left_out_beside_the_view_cast_no_shadow_into_it(scene, picture, monkeypatch):
    states = scene.objects_at(1.5)
    kept = camera_module._casting_into_view(FRONT, picture.ego2world @ FRONT.cam2ego, states, scene.sun)
    assert 0 < len(kept) < len(states)
    monkeypatch.setattr(camera_module, '_casting_into_view', lambda camera, cam2world, states, sun: states)
    assert np.array_equal(expose(scene, FRONT, 1.5).rgb, picture.rgb)


def test_a_smaller_image_shows_the_same(scene):
    camera, half = (rig.cameras[0] for rig in (with_smaller_images(NUSCENES, scale) for scale in (0.25, 0.125)))
    assert camera.size_hw == (225, 400) and half.size_hw == (112, 200)
    large, small = expose(scene, camera, 1.5), expose(scene, half, 1.5)
    # A pixel of the small one lies in the middle of four: averaged, they are its light.
    averaged = large.rgb[:224].reshape(112, 2, 200, 2, 3).mean((1, 3))
    assert np.abs(averaged - small.rgb).mean() < 8
    shifted = np.roll(averaged, 1, axis=1)
    assert np.abs(averaged - small.rgb).mean() < 0.8 * np.abs(shifted - small.rgb).mean()
    assert (large.surface[:224:2, ::2] == small.surface).mean() > 0.95


def test_shares_of_objects_count_their_pixels(picture):
    counts = np.bincount(picture.instance.ravel())
    assert len(picture.visible_px) > 5
    for instance, (visible, whole) in picture.visible_px.items():
        assert 0 <= visible <= whole
        assert visible == (counts[instance] if instance < len(counts) else 0)
    assert set(np.unique(picture.instance)) - {0} <= picture.visible_px.keys()
    assert any(0 < visible < whole for visible, whole in picture.visible_px.values())


def test_it_looks_like_daylight(picture):
    rows = picture.rgb.shape[0]
    sky = picture.rgb[picture.surface == SurfaceClass.SKY]
    road = picture.rgb[picture.surface == SurfaceClass.ROAD]
    paint = picture.rgb[picture.surface == SurfaceClass.LANE_MARKING]
    plants = picture.rgb[picture.surface == SurfaceClass.VEGETATION].astype(int).mean(0)
    assert sky.mean() > 150 > 145 > road.mean() > 30
    assert paint.mean() > road.mean() + 40
    assert plants[1] > plants[0] and plants[1] > plants[2]
    assert (picture.surface[: rows // 8] == SurfaceClass.SKY).mean() > 0.3
    assert (
        np.isin(picture.surface[-rows // 8 :], (SurfaceClass.ROAD, SurfaceClass.LANE_MARKING, SurfaceClass.CAR))
    ).mean() > 0.6


def test_below_a_car_lies_its_shadow(scene):
    for camera in NUSCENES.cameras:
        image = expose(scene, shrunk(camera, 4), 1.5)
        grey = image.rgb.mean(2)
        for instance, (visible, _) in image.visible_px.items():
            if visible < 1500 or scene.actors[instance].surface != SurfaceClass.CAR:
                continue
            rows, cols = np.nonzero(image.instance == instance)
            below = [(rows[cols == c].max() + 2, c) for c in np.unique(cols)[5:-5]]
            under = [grey[r, c] for r, c in below if r < len(grey) and image.surface[r, c] == SurfaceClass.ROAD]
            if len(under) > 20:
                assert np.percentile(under, 20) < 0.9 * np.median(grey[image.surface == SurfaceClass.ROAD])
                return
    pytest.fail('no car near enough to look below')


def test_the_same_moment_gives_the_same_picture(scene, picture):
    again = expose(scene, FRONT, 1.5)
    assert np.array_equal(again.rgb, picture.rgb) and np.array_equal(again.depth_m, picture.depth_m)


@pytest.mark.parametrize('rig', [NUSCENES, KITTI, WAYMO], ids=['nuscenes', 'kitti', 'waymo'])
def test_cameras_and_lidar_agree_on_what_is_where(scene, rig):
    """Rig, poses and both timestamps: points that a camera sees, two pixels from an edge, have its pixel's class."""
    swept = scan(scene, rig.lidar, 1.5)
    lidar2world = swept.ego2world @ rig.lidar.lidar2ego
    world = swept.points_lidar_m.astype(float) @ lidar2world[:3, :3].T + lidar2world[:3, 3]
    for camera in map(lambda c: shrunk(c, 2), rig.cameras):
        image = expose(scene, camera, 1.5 + camera.delay_s)
        world2cam = np.linalg.inv(image.ego2world @ camera.cam2ego)
        points = world @ world2cam[:3, :3].T + world2cam[:3, 3]
        uv = points @ camera.cam2img.T
        u, v = np.round(uv[:, :2] / np.maximum(uv[:, 2:], 1e-6)).astype(int).T
        rows, cols = camera.size_hw
        inside = (points[:, 2] > 1) & (u >= 0) & (u < cols) & (v >= 0) & (v < rows)
        u, v, depth, surface = u[inside], v[inside], points[inside, 2], swept.surface[inside]
        seen = np.abs(image.depth_m[v, u] - depth) < 0.3
        flat = minimum_filter(image.surface, 5) == maximum_filter(image.surface, 5)
        seen &= flat[v, u]
        assert seen.sum() > 500, camera.name
        assert (image.surface[v, u] == surface)[seen].mean() >= 0.99, camera.name
