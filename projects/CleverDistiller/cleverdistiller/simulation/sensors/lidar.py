"""A spinning LiDAR in a scene."""

from __future__ import annotations

import dataclasses

import numpy as np

from cleverdistiller.simulation.frame import LidarScan
from cleverdistiller.simulation.sensors.rigs import LidarModel
from cleverdistiller.simulation.sensors.trace import Hits, Visit, trace
from cleverdistiller.simulation.surfaces import Material
from cleverdistiller.simulation.things import appearance
from cleverdistiller.simulation.world.scene import Scene

POROUS = (Material.FOLIAGE, Material.WOOD, Material.METAL, Material.GLASS)  # part of a beam goes on behind them
SECOND_SHARE = 0.35  # of the beams on porous surfaces that return twice
BEHIND_M = 0.4  # two returns of one beam lie at least this far apart


def scan(scene: Scene, lidar: LidarModel, time_s: float) -> LidarScan:
    """Simulate one revolution.

    Each beam is cast from where the sensor is when it fires, at objects where they are then. Range noise is Gaussian
    along the beam. Intensity is reflectivity times a mix of cosine and constant return; dim, slanted and distant
    surfaces lose returns.

    Args:
        scene (Scene): The world.
        lidar (LidarModel): The sensor.
        time_s (float): Time of the sweep.

    Returns:
        LidarScan: Its points.
    """
    rng = np.random.default_rng([scene.seed, scene.index, 1, 10**9 + round(time_s * 1e6)])
    fired_s = lidar.delays_s()
    ego2world = scene.ego2world(np.concatenate([time_s + fired_s, [time_s]]))
    lidar2world = ego2world @ lidar.lidar2ego
    beams = len(lidar.elevations)
    origins = np.repeat(lidar2world[:-1, :3, 3], beams, 0)
    azimuths, flat = lidar.azimuths(), np.cos(lidar.elevations)
    rays = np.stack(
        np.broadcast_arrays(
            flat * np.cos(azimuths)[:, None], flat * np.sin(azimuths)[:, None], np.sin(lidar.elevations)
        ),
        -1,
    )  # (columns, beams, 3)
    rays = (rays @ lidar2world[:-1, :3, :3].transpose(0, 2, 1)).reshape(-1, 3)

    visits = _visits(scene, lidar, time_s, lidar2world)
    first = trace(scene, origins.astype(np.float32), rays.astype(np.float32), visits)
    range_m, intensity, heard = _listen(rng, lidar, first, rays)
    echoes = [(first, range_m, intensity, heard, 0)]
    if lidar.returns > 1:
        again = np.flatnonzero(np.isin(first.material, POROUS) & (rng.random(len(first.rows)) < SECOND_SHARE))
        rows, start = first.rows[again], first.distance[again] + BEHIND_M
        second = _behind(scene, origins, rays, visits, rows, start)
        range2_m, intensity2, heard2 = _listen(rng, lidar, second, rays)
        both = np.zeros(len(rays), bool)
        both[first.rows[heard]] = True
        echoes.append((second, range2_m, 0.5 * intensity2, heard2 & both[second.rows], 1))

    take = lambda pick: np.concatenate([pick(*echo) for echo in echoes])
    rows = take(lambda hits, r, i, heard, echo: hits.rows[heard])
    range_m = take(lambda hits, r, i, heard, echo: r[heard])
    points_world = origins[rows] + rays[rows] * range_m[:, None]
    world2lidar = np.linalg.inv(lidar2world[-1])
    return LidarScan(
        time_s=time_s,
        ego2world=ego2world[-1],
        points_lidar_m=(points_world @ world2lidar[:3, :3].T + world2lidar[:3, 3]).astype(np.float32),
        intensity=take(lambda hits, r, i, heard, echo: i[heard]).astype(np.float32),
        ring=(rows % beams).astype(np.uint8),
        column=(rows // beams).astype(np.uint16),
        fired_s=fired_s[rows // beams].astype(np.float32),
        range_m=range_m.astype(np.float32),
        surface=take(lambda hits, r, i, heard, echo: hits.surface[heard]),
        instance=take(lambda hits, r, i, heard, echo: hits.instance[heard]),
        echo=take(lambda hits, r, i, heard, echo: np.full(heard.sum(), echo, np.uint8)),
    )


def _visits(scene: Scene, lidar: LidarModel, time_s: float, lidar2world: np.ndarray) -> list[Visit]:
    """Which columns may meet which object: those that look its way when they fire."""
    fired_s, azimuths, beams = lidar.delays_s(), lidar.azimuths(), len(lidar.elevations)
    middle = len(fired_s) // 2
    world2lidar = np.linalg.inv(lidar2world[middle])
    visits = []
    for state in scene.objects_at(time_s + fired_s[middle]):
        index, colour = scene.shape(state.instance)
        moved = state.velocity_world_mps * (fired_s - fired_s[middle])[:, None]  # (columns, 3)
        x, y, _ = world2lidar[:3, :3] @ state.centre_world_m + world2lidar[:3, 3]
        sway = (
            np.linalg.norm(moved, axis=1).max()
            + np.linalg.norm(lidar2world[[0, -1], :3, 3] - lidar2world[middle, :3, 3], axis=1).max()
        )
        reach = np.hypot(*state.size_lwh_m[:2]) / 2 + sway
        distance = np.hypot(x, y)
        if distance - reach > lidar.range_m[1]:
            continue
        wide = np.pi if distance <= reach else np.arcsin(reach / distance) + 0.05
        apart = np.abs((azimuths - np.arctan2(y, x) + np.pi) % (2 * np.pi) - np.pi)
        columns = np.flatnonzero(apart <= wide)
        if not len(columns):
            continue
        rows = (columns[:, None] * beams + np.arange(beams)).ravel()
        origin = scene.origin_of(state) + np.repeat(moved[columns], beams, 0)
        visits.append(Visit(state.instance, index, colour, rows, state.object2world[:3, :3], origin))
    return visits


def _listen(
    rng: np.random.Generator, lidar: LidarModel, hits: Hits, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measured range (K,), intensity (K,) and whether the sensor hears the return (K,)."""
    cosine = np.abs((hits.normal_world * rays[hits.rows]).sum(1))
    grey = hits.colour.mean(1)
    painted = (hits.material == Material.CAR_PAINT) | (hits.material == Material.CANVAS)
    reflectivity = appearance.REFLECTIVITY[hits.material] * np.where(painted, 0.35 + 1.3 * grey, 1.0)
    strength = reflectivity * (0.3 + 0.7 * cosine)
    range_m = hits.distance + rng.normal(0, lidar.noise_m, len(cosine))
    intensity = np.clip(lidar.gain * strength * rng.lognormal(0, 0.18, len(cosine)), 0, 1)
    far = hits.distance / lidar.range_m[1]
    signal = reflectivity * (0.05 + 0.95 * cosine) / np.maximum(far, 0.02) ** 2
    lost = lidar.dropout + (1 - lidar.dropout) * np.exp(-signal * 22)
    lost = np.where(hits.material == Material.GLASS, np.maximum(lost, 0.75), lost)
    heard = (rng.random(len(cosine)) >= lost) & (range_m > lidar.range_m[0]) & (range_m < lidar.range_m[1])
    return range_m, intensity, heard


def _behind(
    scene: Scene, origins: np.ndarray, rays: np.ndarray, visits: list[Visit], rows: np.ndarray, start_m: np.ndarray
) -> Hits:
    """What the rays ``rows`` meet after ``start_m``; distances count from the sensor."""
    place = np.full(len(rays), -1)
    place[rows] = np.arange(len(rows))
    kept = []
    for visit in visits:
        mine = place[visit.rows] >= 0
        if mine.any():
            rows_kept = place[visit.rows[mine]]
            kept.append(dataclasses.replace(visit, rows=rows_kept, origin_world_m=visit.origin_world_m[mine]))
    moved = origins[rows] + rays[rows] * start_m[:, None]
    hits = trace(scene, moved.astype(np.float32), rays[rows].astype(np.float32), kept)
    return dataclasses.replace(hits, rows=rows[hits.rows], distance=hits.distance + start_m[hits.rows])
