import numpy as np

from cleverdistiller.simulation.sensors.trace import Visit, trace
from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.things.mesh import Mesh
from cleverdistiller.simulation.things.raycast import MeshIndex


def rays_around(scene, time_s: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    pose = scene.ego2world(np.array([time_s]))[0]
    azimuth, rise = rng.uniform(-np.pi, np.pi, count), rng.uniform(-0.25, 0.1, count)
    directions = np.stack([np.cos(azimuth), np.sin(azimuth), rise], 1)
    return np.tile(pose[:3, 3] + [0, 0, 1.8], (count, 1)).astype(np.float32), directions.astype(np.float32)


def visits_of(scene, states, count: int) -> list[Visit]:
    rows = np.arange(count)
    return [
        Visit(s.instance, *scene.shape(s.instance), rows, s.object2world[:3, :3], scene.origin_of(s)) for s in states
    ]


def test_moving_the_rays_equals_moving_the_objects(scene):
    origins, directions = rays_around(scene, 1.0, 3000)
    states = scene.objects_at(1.0)
    hits = trace(scene, origins, directions, visits_of(scene, states, 3000))

    meshes, owners = [scene.fixed.mesh], [np.zeros(len(scene.fixed.mesh), int)]
    for state in states:
        mesh = scene.shape(state.instance)[0].mesh
        meshes.append(mesh.moved(scene.origin_of(state), yaw=state.yaw_world))
        owners.append(np.full(len(mesh), state.instance))
    distance, triangle = MeshIndex(Mesh.join(meshes)).cast(origins, directions)
    rows = np.flatnonzero(triangle >= 0)
    assert hits.rows.tolist() == rows.tolist()
    same = hits.instance == np.concatenate(owners)[triangle[rows]]
    assert same.mean() > 0.999 and (hits.instance > 0).sum() > 200
    assert np.allclose(hits.distance[same], distance[rows][same], atol=2e-3)
    assert np.allclose(hits.point_world_m, origins[rows] + directions[rows] * hits.distance[:, None], atol=1e-3)


def test_alone_counts_what_would_be_hit_if_nothing_were_in_front(scene):
    origins, directions = rays_around(scene, 1.0, 3000)
    visits = visits_of(scene, scene.objects_at(1.0), 3000)
    hits = trace(scene, origins, directions, visits)
    seen = np.bincount(hits.instance, minlength=max(hits.alone) + 1)
    assert all(seen[name] <= count for name, count in hits.alone.items())
    assert any(seen[name] < count for name, count in hits.alone.items())  # some are hidden


def test_normals_face_the_ray_and_the_ground_is_named_by_its_place(scene):
    origins, directions = rays_around(scene, 1.0, 2000)
    hits = trace(scene, origins, directions, [])
    assert ((hits.normal_world * directions[hits.rows]).sum(1) <= 0).all()
    road = hits.surface == SurfaceClass.ROAD
    surface, material = scene.ground.surface(hits.point_world_m[road][:, :2])
    assert road.sum() > 200 and (surface == SurfaceClass.ROAD).all() and (material == hits.material[road]).all()
