"""A camera in a scene: one ray a pixel, textured and lit."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import cv2
import numpy as np

from cleverdistiller.simulation.frame import CameraImage, ObjectState
from cleverdistiller.simulation.sensors.rigs import CameraModel
from cleverdistiller.simulation.sensors.texture import clouds, textured
from cleverdistiller.simulation.sensors.trace import Hits, Visit, trace
from cleverdistiller.simulation.surfaces import Material
from cleverdistiller.simulation.things.mesh import Mesh
from cleverdistiller.simulation.things.raycast import MeshIndex
from cleverdistiller.simulation.world.scene import Scene

SUN = np.array([1.0, 0.93, 0.80], np.float32) * 2.9
SKY_LIGHT = np.array([0.62, 0.72, 0.90], np.float32) * 0.62
GROUND_LIGHT = np.array([0.32, 0.30, 0.26], np.float32) * 0.45
ZENITH = np.array([0.16, 0.32, 0.66], np.float32)
HAZE = np.array([0.66, 0.74, 0.84], np.float32)
CLOUD = np.array([0.90, 0.92, 0.95], np.float32)
HAZE_M = 800.0  # distance at which two thirds of the light is haze
SHADOW_STEP = 2  # shadows are cast for every second pixel of every second row
NEAR_M = 0.1
# A band's arrays stay in the processor's cache: 2.5 times faster than the whole picture at once.
BAND_ROWS = 60
# Pairs of a box's corners, numbered by their signs along x, y, z as three binary digits.
BOX_EDGES = [(i, i | bit) for bit in (1, 2, 4) for i in range(8) if not i & bit]
SHADOWS_M = 70.0  # objects farther away cast none


def expose(scene: Scene, camera: CameraModel, time_s: float) -> CameraImage:
    """Take a picture.

    Args:
        scene (Scene): The world.
        camera (CameraModel): The camera.
        time_s (float): When the shutter opens; exposure takes no time.

    Returns:
        CameraImage: The picture and the truth of its pixels.
    """
    rng = np.random.default_rng([scene.seed, scene.index, 2, 10**9 + round(time_s * 1e6)])
    ego2world = scene.ego2world(np.array([time_s]))[0]
    cam2world = ego2world @ camera.cam2ego
    states = scene.objects_at(time_s)
    windows = _windows(camera, cam2world, states)
    shadows = _objects_together(scene, states, cam2world[:3, 3])
    rows, cols = camera.size_hw
    light = np.empty((rows * cols, 3), np.float32)
    depth = np.full(rows * cols, np.inf, np.float32)
    surface, instance = np.zeros(rows * cols, np.uint8), np.zeros(rows * cols, np.uint16)
    alone: Counter[int] = Counter()
    for top in range(0, rows, BAND_ROWS):
        band = slice(top * cols, min(top + BAND_ROWS, rows) * cols)
        rays_cam = _rays(camera.size_hw, camera.cam2img.tobytes())[band]
        directions = rays_cam @ cam2world[:3, :3].T.astype(np.float32)  # camera z is 1: distance is depth
        origins = np.broadcast_to(cam2world[:3, 3].astype(np.float32), directions.shape)
        hits = trace(scene, origins, directions, _visits(scene, windows, top, camera.size_hw))
        part = light[band]
        missed = np.ones(len(part), bool)
        missed[hits.rows] = False
        part[missed] = _sky(scene, directions[missed])
        part[hits.rows] = _shade(scene, hits, directions, cols, shadows)
        depth[band][hits.rows], surface[band][hits.rows] = hits.distance, hits.surface
        instance[band][hits.rows] = hits.instance
        alone.update(hits.alone)
    visible = np.bincount(instance, minlength=max(alone, default=0) + 1)
    return CameraImage(
        time_s=time_s,
        ego2world=ego2world,
        rgb=_develop(rng, light.reshape(rows, cols, 3)),
        depth_m=depth.reshape(rows, cols),
        surface=surface.reshape(rows, cols),
        instance=instance.reshape(rows, cols),
        visible_px={name: (int(visible[name]), count) for name, count in sorted(alone.items()) if count},
    )


@lru_cache(maxsize=8)
def _rays(size_hw: tuple[int, int], cam2img: bytes) -> np.ndarray:
    """(H*W, 3) float32 through the middle of each pixel, whose coordinates are whole numbers."""
    u, v = np.meshgrid(np.arange(size_hw[1]), np.arange(size_hw[0]))
    pixels = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3)
    return (pixels @ np.linalg.inv(np.frombuffer(cam2img).reshape(3, 3)).T).astype(np.float32)


def _windows(
    camera: CameraModel, cam2world: np.ndarray, states: list[ObjectState]
) -> list[tuple[ObjectState, np.ndarray, np.ndarray]]:
    """Objects in view, each with the first and the last (column, row) + 1 of the pixels that its box covers."""
    rows, cols = camera.size_hw
    world2cam = np.linalg.inv(cam2world)
    unit = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    windows = []
    for state in states:
        pose = state.object2world
        corners = (unit * state.size_lwh_m) @ pose[:3, :3].T + pose[:3, 3]
        corners = corners @ world2cam[:3, :3].T + world2cam[:3, 3]
        seen = _before_the_lens(corners)
        if not len(seen):
            continue
        uv = seen @ camera.cam2img.T
        uv = uv[:, :2] / uv[:, 2:]
        low = np.clip(np.floor(uv.min(0)), 0, (cols, rows)).astype(int)
        high = np.clip(np.ceil(uv.max(0)) + 1, 0, (cols, rows)).astype(int)
        if (high > low).all():
            windows.append((state, low, high))
    return windows


def _before_the_lens(corners_cam_m: np.ndarray) -> np.ndarray:
    """(K, 3) corners of the part of a box (8, 3) that lies in front of the camera."""
    depth = corners_cam_m[:, 2]
    points = [corners_cam_m[depth >= NEAR_M]]
    for one, two in BOX_EDGES:
        if (depth[one] < NEAR_M) != (depth[two] < NEAR_M):
            share = (NEAR_M - depth[one]) / (depth[two] - depth[one])
            points.append((corners_cam_m[one] + share * (corners_cam_m[two] - corners_cam_m[one]))[None])
    return np.concatenate(points)


def _visits(
    scene: Scene, windows: list[tuple[ObjectState, np.ndarray, np.ndarray]], top: int, size_hw: tuple[int, int]
) -> list[Visit]:
    """The objects of the band of rows that begins at ``top``."""
    rows, cols = size_hw
    visits = []
    for state, low, high in windows:
        first, last = max(low[1], top) - top, min(high[1], top + BAND_ROWS, rows) - top
        if first < last:
            patch = (np.arange(first, last)[:, None] * cols + np.arange(low[0], high[0])).ravel()
            index, colour = scene.shape(state.instance)
            rotation = state.object2world[:3, :3]
            visits.append(Visit(state.instance, index, colour, patch, rotation, scene.origin_of(state)))
    return visits


def _sky(scene: Scene, directions: np.ndarray) -> np.ndarray:
    """(N, 3) light from the sky along rays."""
    height = directions[:, 2] / np.sqrt(np.einsum('ij,ij->i', directions, directions))
    sky = HAZE + (ZENITH - HAZE) * np.sqrt(np.clip(height, 0, 1))[:, None]
    above = np.flatnonzero(height > 0.01)
    plane = directions[above, :2] / (directions[above, 2:] + 0.08 * np.abs(directions[above]).sum(1, keepdims=True))
    cover = np.clip(1.1 * clouds(*(plane + scene.sun[:2].astype(np.float32)).T) + 0.9 - 1.1 * scene.sun_strength, 0, 1)
    cover *= np.clip(height[above] * 8, 0, 1)
    sky[above] += (CLOUD - sky[above]) * cover.astype(np.float32)[:, None]
    return sky


def _shade(scene: Scene, hits: Hits, directions: np.ndarray, cols: int, shadows: MeshIndex | None) -> np.ndarray:
    """(K, 3) light from what was hit: sun with shadows, sky, ground, mirrors and haze."""
    colour = textured(hits)
    lit = _sunlit(scene, hits, len(directions) // cols, cols, shadows)
    towards_sun = np.maximum(hits.normal_world @ scene.sun.astype(np.float32), 0)
    up = 0.5 + 0.5 * hits.normal_world[:, 2:]
    ambient = GROUND_LIGHT + (SKY_LIGHT * np.float32(2.0 - scene.sun_strength) - GROUND_LIGHT) * up
    light = colour * (ambient + SUN * np.float32(scene.sun_strength) * (towards_sun * lit)[:, None])

    mirrors = np.flatnonzero(np.isin(hits.material, (Material.CAR_PAINT, Material.GLASS)))
    ray = directions[hits.rows[mirrors]]
    ray = ray / np.linalg.norm(ray, axis=1, keepdims=True)
    normal = hits.normal_world[mirrors]
    cosine = -(ray * normal).sum(1, keepdims=True)
    mirrored = _sky(scene, ray + 2 * cosine * normal)
    share = 0.05 + 0.5 * (1 - np.clip(cosine, 0, 1)) ** 3 + 0.06 * (hits.material[mirrors] == Material.GLASS)[:, None]
    light[mirrors] += (mirrored - light[mirrors]) * share
    haze = 1 - np.exp(-hits.distance / np.float32(HAZE_M))
    return light + (HAZE - light) * haze[:, None]


def _sunlit(scene: Scene, hits: Hits, rows: int, cols: int, shadows: MeshIndex | None) -> np.ndarray:
    """(K,) how much sun reaches what was hit: 0 in full shadow, 1 without."""
    row, col = hits.rows // cols, hits.rows % cols
    some = np.flatnonzero((row % SHADOW_STEP == 0) & (col % SHADOW_STEP == 0))
    origins = hits.point_world_m[some] + 0.03 * hits.normal_world[some]
    rays = np.broadcast_to(scene.sun.astype(np.float32), origins.shape)
    blocked = scene.fixed.blocked(origins, rays)
    if shadows is not None:
        blocked |= shadows.blocked(origins, rays)
    small = np.ones((-(-rows // SHADOW_STEP), -(-cols // SHADOW_STEP)), np.float32)
    small[row[some] // SHADOW_STEP, col[some] // SHADOW_STEP] = ~blocked
    soft = cv2.resize(cv2.GaussianBlur(small, (0, 0), 0.8), (cols, rows), interpolation=cv2.INTER_LINEAR)
    return soft.ravel()[hits.rows]


def _objects_together(scene: Scene, states: list[ObjectState], eye_m: np.ndarray) -> MeshIndex | None:
    """The objects near the camera where they are, as one: enough to cast shadows."""
    meshes = []
    for state in states:
        mesh = scene.shape(state.instance)[0].mesh
        if np.linalg.norm(state.centre_world_m - eye_m) < SHADOWS_M:
            meshes.append(mesh.moved(scene.origin_of(state), yaw=state.yaw_world))
    return MeshIndex(Mesh.join(meshes)) if meshes else None


def _develop(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: lens blur, exposure, response curve and noise of the sensor."""
    light = cv2.GaussianBlur(light, (3, 3), 0.55)
    light = np.sqrt(np.clip(light * 0.95, 0, None))
    light = light / (1 + 0.12 * light) * 1.1
    rows, cols = light.shape[:2]
    tile = _noise_tile()
    r, c = rng.integers(0, 256, 2)
    noise = np.tile(tile, (rows // 256 + 2, cols // 256 + 2, 1))[r : r + rows, c : c + cols]
    return np.clip(light * 255 + noise, 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _noise_tile() -> np.ndarray:
    """(256, 256, 3) float32, drawn once: fresh noise for each pixel costs more than its ray."""
    return np.random.default_rng(0).normal(0, 2.5, (256, 256, 3)).astype(np.float32)
