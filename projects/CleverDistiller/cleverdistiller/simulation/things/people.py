"""Human figures: where hips, shoulders, hands and feet are decides the pose; knees and elbows follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cleverdistiller.simulation.surfaces import Material, SurfaceClass
from cleverdistiller.simulation.things.assembly import Assembly
from cleverdistiller.simulation.things.mesh import Mesh

Colours = dict[Material, tuple[float, float, float]]

_SKINS = ((0.94, 0.78, 0.67), (0.87, 0.68, 0.54), (0.76, 0.57, 0.42), (0.55, 0.38, 0.26), (0.36, 0.24, 0.17))
_UPPER = (
    (0.12, 0.13, 0.16),
    (0.85, 0.85, 0.83),
    (0.13, 0.20, 0.42),
    (0.55, 0.10, 0.12),
    (0.35, 0.37, 0.40),
    (0.20, 0.38, 0.28),
    (0.80, 0.62, 0.20),
    (0.45, 0.60, 0.75),
    (0.78, 0.45, 0.50),
)
_LOWER = ((0.10, 0.10, 0.12), (0.16, 0.22, 0.36), (0.28, 0.29, 0.32), (0.55, 0.48, 0.36), (0.30, 0.38, 0.50))


@dataclass(frozen=True)
class Pose:
    """Where a person of ``height_m`` has the ends of the limbs; left, then right. Metres, x forward.

    Args:
        height_m (float): Standing height, which decides the lengths of all bones.
        hips_m (np.ndarray): (3,) middle between the hip joints.
        neck_m (np.ndarray): (3,) foot of the neck.
        ankles_m (np.ndarray): (2, 3).
        hands_m (np.ndarray): (2, 3).
    """

    height_m: float
    hips_m: np.ndarray
    neck_m: np.ndarray
    ankles_m: np.ndarray
    hands_m: np.ndarray


def clothes(rng: np.random.Generator) -> Colours:
    """Colours of a person's jacket, trousers and skin.

    Args:
        rng (np.random.Generator): Chooses.

    Returns:
        Colours: RGB in 0..1 as a screen shows it.
    """
    return {
        Material.CLOTH_UPPER: _UPPER[rng.integers(len(_UPPER))],
        Material.CLOTH_LOWER: _LOWER[rng.integers(len(_LOWER))],
        Material.SKIN: _SKINS[rng.integers(len(_SKINS))],
    }


def pedestrian(rng: np.random.Generator) -> tuple[Mesh, Colours]:
    """Someone who stands or walks: an adult or a child, perhaps with a bag or a rucksack.

    Args:
        rng (np.random.Generator): Decides all that differs between two of them.

    Returns:
        tuple[Mesh, Colours]: Metres, x forward, standing on z = 0; RGB in 0..1 as a screen shows it.
    """
    height = rng.uniform(1.05, 1.4) if rng.random() < 0.15 else rng.uniform(1.54, 1.9)
    s = height / 1.75
    stride = rng.choice([0.06, 0.3, 0.5, 0.64]) * s
    lead = rng.choice([-1, 1])  # the foot in front
    hips_z = 0.93 * s - 0.16 * stride**2 / s
    lift = 0.1 * stride  # the heel behind leaves the ground
    ankles = [(side * lead * stride / 2, side * 0.09 * s, 0.08 * s + (lift if side != lead else 0)) for side in (1, -1)]
    swing = 0.55 * stride + 0.03
    hands = [(-side * lead * swing, side * 0.29 * s, 0.84 * s + 0.35 * swing**2) for side in (1, -1)]
    lean = 0.04 * s + 0.06 * stride
    pose = Pose(
        height, np.array([0, 0, hips_z]), np.array([lean, 0, hips_z + 0.53 * s]), np.array(ankles), np.array(hands)
    )
    parts = Assembly(SurfaceClass.PEDESTRIAN)
    add_person(parts, pose, 'hair')
    luggage = rng.random()
    if luggage < 0.2:  # rucksack
        parts.box((0.16 * s, 0.28 * s, 0.42 * s), (lean / 2 - 0.19 * s, 0, hips_z + 0.33 * s), Material.DARK_PLASTIC)
    elif luggage < 0.4:  # bag in the hand
        x, y, z = pose.hands_m[0]
        parts.box((0.3 * s, 0.1 * s, 0.26 * s), (x, y + 0.02, z - 0.17 * s), Material.DARK_PLASTIC)
    return parts.mesh(), clothes(rng)


def add_person(parts: Assembly, pose: Pose, headgear: Literal['hair', 'helmet', 'full-face helmet']) -> None:
    """Add a figure in a pose; a helmet is of CAR_PAINT, the colour of the machine that the person rides.

    Args:
        parts (Assembly): What the figure is added to.
        pose (Pose): Where its limbs end.
        headgear (str): What covers its head.
    """
    s = pose.height_m / 1.75
    hips, neck = np.asarray(pose.hips_m, float), np.asarray(pose.neck_m, float)
    spine = (neck - hips) / np.linalg.norm(neck - hips)
    left = np.array([0.0, 1.0, 0.0])
    front = np.cross(left, spine)
    shoulders = neck - 0.075 * s * spine
    _add_torso(parts, hips, neck, front, s)
    for side, ankle, hand in zip((1, -1), pose.ankles_m, pose.hands_m):
        hip = hips + side * 0.09 * s * left
        knee = _joint(hip, ankle, 0.44 * s, 0.43 * s, np.array([1.0, 0.12 * side, 0.2]))
        parts.tube(hip, knee, 0.088 * s, Material.CLOTH_LOWER, sides=8, end_radius_m=0.062 * s)
        parts.ellipsoid((0.064 * s,) * 3, knee, Material.CLOTH_LOWER, rings=4)
        parts.tube(knee, ankle, 0.062 * s, Material.CLOTH_LOWER, sides=8, end_radius_m=0.045 * s)
        shoe = ankle + np.array([0.06, 0, -0.035]) * s
        parts.ellipsoid((0.14 * s, 0.05 * s, 0.05 * s), shoe, Material.DARK_PLASTIC, rings=4)
        shoulder = shoulders + side * 0.185 * s * left
        elbow = _joint(shoulder, hand, 0.29 * s, 0.27 * s, np.array([-1.0, 0.5 * side, -0.6]))
        parts.ellipsoid((0.062 * s,) * 3, shoulder, Material.CLOTH_UPPER, rings=4)
        parts.tube(shoulder, elbow, 0.056 * s, Material.CLOTH_UPPER, sides=7, end_radius_m=0.046 * s)
        parts.tube(elbow, hand, 0.046 * s, Material.CLOTH_UPPER, sides=7, end_radius_m=0.035 * s)
        parts.ellipsoid((0.05 * s, 0.03 * s, 0.055 * s), hand, Material.SKIN, rings=4, sides=6)
    _add_head(parts, neck, spine, s, headgear)


def _add_head(parts: Assembly, neck: np.ndarray, spine: np.ndarray, s: float, headgear: str) -> None:
    h = s**0.5  # children have large heads
    head = neck + np.array([0.03 * h, 0, 0.09 * s + 0.08 * h])
    at = lambda x, z: head + np.array([x, 0, z]) * h
    parts.tube(neck - 0.04 * s * spine, head, 0.053 * h, Material.SKIN, sides=7)
    if headgear == 'full-face helmet':
        parts.ellipsoid((0.145 * h, 0.122 * h, 0.15 * h), at(-0.01, 0.02), Material.CAR_PAINT, rings=8, sides=12)
        parts.ellipsoid((0.08 * h, 0.1 * h, 0.05 * h), at(0.07, 0.03), Material.DARK_PLASTIC)  # visor
        return
    parts.ellipsoid((0.098 * h, 0.078 * h, 0.125 * h), head, Material.SKIN)
    if headgear == 'helmet':
        parts.ellipsoid((0.14 * h, 0.11 * h, 0.1 * h), at(-0.015, 0.06), Material.CAR_PAINT)
    else:
        parts.ellipsoid((0.1 * h, 0.086 * h, 0.1 * h), at(-0.022, 0.04), Material.DARK_PLASTIC)


def _add_torso(parts: Assembly, hips: np.ndarray, neck: np.ndarray, front: np.ndarray, s: float) -> None:
    """Ellipses along the spine: share of the way up, half depth, half width, metres at 1.75 m."""
    angles = np.arange(10) * 2 * np.pi / 10
    circle = np.cos(angles)[:, None] * front, np.sin(angles)[:, None] * np.array([0.0, 1.0, 0.0])

    def skin(rows: list[tuple[float, float, float]], material: Material) -> None:
        sections = [
            hips + share * (neck - hips) + s * (depth * circle[0] + width * circle[1]) for share, depth, width in rows
        ]
        parts.loft(np.stack(sections), material)

    skin([(-0.17, 0.08, 0.1), (-0.05, 0.125, 0.175), (0.1, 0.125, 0.17)], Material.CLOTH_LOWER)
    jacket = [(0.02, 0.13, 0.18), (0.3, 0.115, 0.16), (0.65, 0.13, 0.19), (0.87, 0.11, 0.195), (0.98, 0.07, 0.11)]
    jacket += [(1.04, 0.05, 0.06)]
    skin(jacket, Material.CLOTH_UPPER)


def _joint(start: np.ndarray, end: np.ndarray, upper_m: float, lower_m: float, towards: np.ndarray) -> np.ndarray:
    """(3,) knee or elbow between two bones of given length, bent ``towards``; bones stretch if the end is too far."""
    reach = np.linalg.norm(end - start)
    axis = (end - start) / reach
    along = (upper_m**2 + reach**2 - lower_m**2) / (2 * reach)
    off = np.sqrt(max(upper_m**2 - along**2, 0.0))
    side = towards - axis * (towards @ axis)
    return start + axis * along + side / np.linalg.norm(side) * off
