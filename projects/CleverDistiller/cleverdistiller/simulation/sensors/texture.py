"""Patterns on surfaces, computed from where on the thing a ray met it."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from cleverdistiller.simulation.sensors.trace import Hits
from cleverdistiller.simulation.surfaces import Material
from cleverdistiller.simulation.things import appearance

TILE = 1024
TEXELS_PER_GRAIN = 24

STOREY_M, WINDOW_PITCH_M = 3.1, 2.4


def textured(hits: Hits) -> np.ndarray:
    """Colour what was hit.

    Args:
        hits (Hits): Points, normals, materials and plain colours.

    Returns:
        np.ndarray: (K, 3) float32 linear RGB.
    """
    a, b = surface_coordinates(hits.texture_m, hits.normal_world)
    grain = appearance.GRAIN_M[hits.material]
    fine = _noise(a / grain, b / grain)
    coarse = _noise(a / (grain * 6.7) + 0.37, b / (grain * 6.7) + 0.71)
    factor = 1 + appearance.CONTRAST[hits.material] * (0.6 * fine + 0.6 * coarse)
    colour = hits.colour * np.maximum(factor, 0.05)[:, None]
    for material, pattern in _PATTERNS.items():
        mine = np.flatnonzero(hits.material == material)
        if len(mine):
            colour[mine] = pattern(colour[mine], a[mine], b[mine], hits.distance[mine])
    return colour


def clouds(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(N,) cover of the sky, about -1 to 1, at places (N,) on a high flat ceiling in multiples of its height."""
    return 0.7 * _noise(x * 1.1, y * 1.1) + 0.3 * _noise(x * 4.3 + 0.3, y * 4.3) + 0.5 * _noise(x * 0.35, y * 0.35)


def surface_coordinates(point_m: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two coordinates (K,) along the surface in metres: x, y on flat ones, else along the wall and up."""
    flat = np.abs(normal[:, 2]) > 0.7
    x, y, z = point_m.T
    across = np.hypot(normal[:, 0], normal[:, 1]) + 1e-6
    a = np.where(flat, x, (y * normal[:, 0] - x * normal[:, 1]) / across)
    return a, np.where(flat, y, z)


@lru_cache(maxsize=1)
def _tile() -> np.ndarray:
    """(TILE, TILE) float32 noise of several octaves, about -1 to 1, whose borders fit each other."""
    rng = np.random.default_rng(1)
    total = np.zeros((TILE, TILE), np.float32)
    for octave, weight in ((2, 0.5), (8, 0.7), (32, 0.9)):
        white = rng.normal(size=(TILE, TILE)).astype(np.float32)
        pad = 4 * octave
        smooth = cv2.GaussianBlur(np.pad(white, pad, mode='wrap'), (0, 0), octave / 2)[pad:-pad, pad:-pad]
        total += weight * smooth / smooth.std()
    return np.clip(total / (2 * total.std()), -1, 1)


def _noise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(K,) noise at coordinates in grains."""
    width = 4096  # cv2 wants images that are not empty and have no more than 32767 columns
    padded = np.zeros((2, (len(a) // width + 1) * width), np.float32)
    padded[:, : len(a)] = a, b
    column, row = (padded * TEXELS_PER_GRAIN).reshape(2, -1, width) % TILE
    return cv2.remap(_tile(), column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).ravel()[: len(a)]


def _cell(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(K,) a number in 0..1 of its own for each pair of whole numbers."""
    mixed = np.floor(a).astype(np.int64) * 73856093 ^ np.floor(b).astype(np.int64) * 19349663
    return ((mixed * 2654435761 >> 7) & 1023).astype(np.float32) / 1023


def _fraction(value: np.ndarray) -> np.ndarray:
    return value - np.floor(value)


def _windows(colour: np.ndarray, a: np.ndarray, b: np.ndarray, distance: np.ndarray) -> np.ndarray:
    u, v = a / WINDOW_PITCH_M, (b - 0.2) / STOREY_M
    fu, fv = _fraction(u), _fraction(v)
    frame = (fu > 0.24) & (fu < 0.76) & (fv > 0.26) & (fv < 0.80)
    pane = (fu > 0.28) & (fu < 0.72) & (fv > 0.30) & (fv < 0.77) & (np.abs(fu - 0.5) > 0.012)
    colour[frame] = (0.55, 0.54, 0.50)
    cell = _cell(u, v)[pane][:, None]
    glass = np.array([0.03, 0.045, 0.06]) + np.array([0.10, 0.13, 0.16]) * (fv[pane][:, None] * cell)
    curtain = np.array([0.32, 0.29, 0.24])
    colour[pane] = np.where(cell > 0.8, curtain, glass)
    colour[np.abs(fv - 0.02) < 0.02] *= 0.75  # a ledge at each floor
    return colour


def _joints(pitch_m: float, width_m: float, dark: float):
    def pattern(colour: np.ndarray, a: np.ndarray, b: np.ndarray, distance: np.ndarray) -> np.ndarray:
        joint = (_fraction(a / pitch_m) < width_m / pitch_m) | (_fraction(b / pitch_m) < width_m / pitch_m)
        near = np.clip(1.5 - distance / 25, 0, 1)  # finer than a pixel farther away
        tone = 0.92 + 0.16 * _cell(a / pitch_m, b / pitch_m) * near
        return colour * (tone * np.where(joint, 1 - dark * near, 1))[:, None].astype(np.float32)

    return pattern


def _bricks(colour: np.ndarray, a: np.ndarray, b: np.ndarray, distance: np.ndarray) -> np.ndarray:
    row = np.floor(b / 0.12)
    joint = (_fraction(b / 0.12) < 0.12) | (_fraction(a / 0.3 + 0.5 * (row % 2)) < 0.05)
    near = np.clip(1.5 - distance / 20, 0, 1)
    return colour + (joint * near * 0.18)[:, None].astype(np.float32)


def _stripes(colour: np.ndarray, a: np.ndarray, b: np.ndarray, distance: np.ndarray) -> np.ndarray:
    white = _fraction((a + b) / 0.5) < 0.5
    colour[white] = (0.75, 0.75, 0.75)
    return colour


def _planks(colour: np.ndarray, a: np.ndarray, b: np.ndarray, distance: np.ndarray) -> np.ndarray:
    return colour * (0.75 + 0.4 * _cell(a / 0.14, np.zeros_like(b)))[:, None]


def _lawn(colour: np.ndarray, a: np.ndarray, b: np.ndarray, distance: np.ndarray) -> np.ndarray:
    dry = np.clip(_noise(a / 9.0, b / 9.0), 0, 1)[:, None]
    return colour * (1 + dry * np.array([0.9, 0.35, 0.2], np.float32))


_PATTERNS = {
    Material.FACADE: _windows,
    Material.PAVING: _joints(0.6, 0.03, 0.4),
    Material.COBBLE: _joints(0.22, 0.03, 0.5),
    Material.BRICK: _bricks,
    Material.RED_WHITE: _stripes,
    Material.WOOD: _planks,
    Material.GRASS: _lawn,
}
