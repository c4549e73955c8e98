"""The light that comes from what rays met: sun and shadows, sky, mirrors, haze."""

from __future__ import annotations

import numpy as np

from cleverdistiller.simulation.frame import ObjectState
from cleverdistiller.simulation.sensors.texture import clouds, textured
from cleverdistiller.simulation.sensors.trace import Hits
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
SHADOWS_M = 70.0  # objects farther away cast none


def sky(scene: Scene, directions: np.ndarray) -> np.ndarray:
    """(N, 3) light from the sky along rays."""
    height = directions[:, 2] / np.sqrt(np.einsum('ij,ij->i', directions, directions))
    sky = HAZE + (ZENITH - HAZE) * np.sqrt(np.clip(height, 0, 1))[:, None]
    above = np.flatnonzero(height > 0.01)
    plane = directions[above, :2] / (directions[above, 2:] + 0.08 * np.abs(directions[above]).sum(1, keepdims=True))
    cover = np.clip(1.1 * clouds(*(plane + scene.sun[:2].astype(np.float32)).T) + 0.9 - 1.1 * scene.sun_strength, 0, 1)
    cover *= np.clip(height[above] * 8, 0, 1)
    sky[above] += (CLOUD - sky[above]) * cover.astype(np.float32)[:, None]
    return sky


def shade(scene: Scene, hits: Hits, directions: np.ndarray, sunlit: np.ndarray) -> np.ndarray:
    """Light from what was hit.

    Args:
        scene (Scene): Its sun and sky.
        hits (Hits): K hits.
        directions (np.ndarray): (N, 3) rays.
        sunlit (np.ndarray): (K,) share of the sun that reaches each hit.

    Returns:
        np.ndarray: (K, 3) float32 linear RGB.
    """
    colour = textured(hits)
    towards_sun = np.maximum(hits.normal_world @ scene.sun.astype(np.float32), 0)
    up = 0.5 + 0.5 * hits.normal_world[:, 2:]
    ambient = GROUND_LIGHT + (SKY_LIGHT * np.float32(2.0 - scene.sun_strength) - GROUND_LIGHT) * up
    light = colour * (ambient + SUN * np.float32(scene.sun_strength) * (towards_sun * sunlit)[:, None])

    mirrors = np.flatnonzero(np.isin(hits.material, (Material.CAR_PAINT, Material.GLASS)))
    ray = directions[hits.rows[mirrors]]
    ray = ray / np.linalg.norm(ray, axis=1, keepdims=True)
    normal = hits.normal_world[mirrors]
    cosine = -(ray * normal).sum(1, keepdims=True)
    mirrored = sky(scene, ray + 2 * cosine * normal)
    share = 0.05 + 0.5 * (1 - np.clip(cosine, 0, 1)) ** 3 + 0.06 * (hits.material[mirrors] == Material.GLASS)[:, None]
    light[mirrors] += (mirrored - light[mirrors]) * share
    haze = 1 - np.exp(-hits.distance / np.float32(HAZE_M))
    return light + (HAZE - light) * haze[:, None]


def in_the_sun(scene: Scene, hits: Hits, shadows: MeshIndex | None) -> np.ndarray:
    """(K,) bool: whether nothing stands between each hit and the sun; ``shadows`` are the objects."""
    origins = hits.point_world_m + 0.03 * hits.normal_world
    rays = np.broadcast_to(scene.sun.astype(np.float32), origins.shape)
    blocked = scene.fixed.blocked(origins, rays)
    if shadows is not None:
        blocked |= shadows.blocked(origins, rays)
    return ~blocked


def objects_together(scene: Scene, states: list[ObjectState], eye_m: np.ndarray) -> MeshIndex | None:
    """The objects near the camera where they are, as one: enough to cast shadows."""
    meshes = []
    for state in states:
        mesh = scene.shape(state.instance)[0].mesh
        if np.linalg.norm(state.centre_world_m - eye_m) < SHADOWS_M:
            meshes.append(mesh.moved(scene.origin_of(state), yaw=state.yaw_world))
    return MeshIndex(Mesh.join(meshes)) if meshes else None
