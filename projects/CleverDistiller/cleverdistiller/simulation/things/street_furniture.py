"""Cones and barriers: things with a box that someone put on the road."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from cleverdistiller.simulation.surfaces import Material, SurfaceClass
from cleverdistiller.simulation.things.assembly import Assembly
from cleverdistiller.simulation.things.mesh import Mesh

Colours = dict[Material, tuple[float, float, float]]


def traffic_cone(rng: np.random.Generator) -> tuple[Mesh, Colours]:
    """An orange cone with white bands on a dark foot, 0.75 to 1 m high.

    Args:
        rng (np.random.Generator): Decides all that differs between two of them.

    Returns:
        tuple[Mesh, Colours]: Metres, x forward, standing on z = 0; RGB in 0..1 as a screen shows it.
    """
    parts = Assembly(SurfaceClass.TRAFFIC_CONE)
    height, foot = rng.uniform(0.75, 1.0), rng.uniform(0.36, 0.44)
    parts.box((foot, foot, 0.05), (0, 0, 0.025), Material.DARK_PLASTIC)
    radius = lambda share: 0.4 * foot + (0.03 - 0.4 * foot) * share
    cuts = [0, 0.32, 0.5, 0.62, 0.78, 1]
    for i, (low, high) in enumerate(pairwise(cuts)):
        material = Material.REFLECTIVE_WHITE if i % 2 else Material.ORANGE_PLASTIC
        base = (0, 0, 0.05 + low * (height - 0.05))
        parts.cylinder(radius(low), (high - low) * (height - 0.05), base, material, sides=14, top_radius_m=radius(high))
    return parts.mesh(), {}


def barrier(rng: np.random.Generator) -> tuple[Mesh, Colours]:
    """A concrete or a plastic barrier of 1.5 to 2.5 m; its long side lies along x.

    Args:
        rng (np.random.Generator): Decides all that differs between two of them.

    Returns:
        tuple[Mesh, Colours]: Metres, x forward, standing on z = 0; RGB in 0..1 as a screen shows it.
    """
    parts = Assembly(SurfaceClass.BARRIER)
    length = rng.uniform(1.5, 2.5)
    if rng.random() < 0.5:
        _concrete_barrier(parts, length, rng.uniform(0.85, 1.05))
    else:
        _plastic_barrier(parts, length, rng.uniform(0.9, 1.1))
    return parts.mesh(), {}


def _concrete_barrier(parts: Assembly, length_m: float, height_m: float) -> None:
    half = np.array([(0.28, 0), (0.28, 0.08), (0.15, 0.32), (0.08, height_m - 0.02), (0.06, height_m)])
    outline = np.concatenate([half, half[::-1] * (-1, 1)])
    ends = [np.insert(outline, 0, x, axis=1) for x in (-length_m / 2, length_m / 2)]
    parts.loft(np.stack(ends), Material.CONCRETE)
    for x in (-0.3, 0.3):
        parts.box((0.12, 0.36, 0.1), (x * length_m, 0, 0.32), Material.REFLECTIVE_WHITE)  # reflectors on both slopes


def _plastic_barrier(parts: Assembly, length_m: float, height_m: float) -> None:
    foot = 0.22
    board = height_m - foot
    for x in (-0.36, 0.36):
        parts.box((0.22, 0.5, 0.1), (x * length_m, 0, 0.05), Material.DARK_PLASTIC)
        parts.box((0.07, 0.07, foot), (x * length_m, 0, foot / 2), Material.METAL)
    # Two boards with daylight between them, between two posts.
    for x in (-0.48, 0.48):
        parts.box((0.04 * length_m, 0.09, board), (x * length_m, 0, foot + board / 2), Material.RED_WHITE)
    for z, share in ((foot + 0.22 * board, 0.44), (foot + 0.8 * board, 0.4)):
        parts.box((0.92 * length_m, 0.05, share * board), (0, 0, z), Material.RED_WHITE)
