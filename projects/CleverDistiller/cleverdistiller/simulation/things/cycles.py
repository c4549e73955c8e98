"""Bicycles and motorcycles, parked or ridden.

x forward, y left, z up; metres; both wheels stand on z = 0.
"""

from __future__ import annotations

import numpy as np

from cleverdistiller.simulation.surfaces import Material, SurfaceClass
from cleverdistiller.simulation.things.assembly import Assembly
from cleverdistiller.simulation.things.mesh import Mesh
from cleverdistiller.simulation.things.people import Pose, add_person, clothes

Colours = dict[Material, tuple[float, float, float]]

_FRAMES = ((0.10, 0.10, 0.12), (0.70, 0.10, 0.12), (0.12, 0.28, 0.55), (0.82, 0.82, 0.80), (0.15, 0.42, 0.30))


def bicycle(rng: np.random.Generator) -> tuple[Mesh, Colours]:
    """A parked bicycle, leaning on its kickstand.

    Args:
        rng (np.random.Generator): Decides all that differs between two of them.

    Returns:
        tuple[Mesh, Colours]: Metres, x forward, standing on z = 0; RGB in 0..1 as a screen shows it.
    """
    parts = Assembly(SurfaceClass.BICYCLE)
    _add_bicycle(parts, rng)
    parts.tube((-0.2, 0.04, 0.3), (-0.28, 0.24, 0.02), 0.012, Material.METAL)
    return _some_size(parts, rng), _paint(rng)


def bicyclist(rng: np.random.Generator) -> tuple[Mesh, Colours]:
    """A bicycle and its rider.

    Args:
        rng (np.random.Generator): Decides all that differs between two of them.

    Returns:
        tuple[Mesh, Colours]: Metres, x forward, standing on z = 0; RGB in 0..1 as a screen shows it.
    """
    parts = Assembly(SurfaceClass.BICYCLIST)
    crank = _add_bicycle(parts, rng)
    pedals = np.array(
        [[np.cos(crank) * 0.17, 0.12, np.sin(crank) * 0.17], [-np.cos(crank) * 0.17, -0.12, -np.sin(crank) * 0.17]]
    )
    ankles = pedals + _xyz(-0.05 - 0.03, 0, 0.29 + 0.09)
    height = rng.uniform(1.6, 1.85)
    s, lean = height / 1.75, rng.uniform(0.25, 0.6)
    hips = np.array([-0.25, 0, 0.99])
    neck = hips + 0.53 * s * np.array([np.sin(lean), 0, np.cos(lean)])
    hands = np.array([[0.38, 0.27, 1.04], [0.38, -0.27, 1.04]])
    headgear = 'helmet' if rng.random() < 0.5 else 'hair'
    add_person(parts, Pose(height, hips, neck, ankles, hands), headgear)
    return _some_size(parts, rng), _paint(rng) | clothes(rng)


def motorcycle(rng: np.random.Generator) -> tuple[Mesh, Colours]:
    """A parked motorcycle.

    Args:
        rng (np.random.Generator): Decides all that differs between two of them.

    Returns:
        tuple[Mesh, Colours]: Metres, x forward, standing on z = 0; RGB in 0..1 as a screen shows it.
    """
    parts = Assembly(SurfaceClass.MOTORCYCLE)
    _add_motorcycle(parts)
    parts.tube((0, 0.15, 0.3), (-0.1, 0.32, 0.02), 0.02, Material.METAL)
    return _some_size(parts, rng), _paint(rng)


def motorcyclist(rng: np.random.Generator) -> tuple[Mesh, Colours]:
    """A motorcycle and its rider, who wears a helmet.

    Args:
        rng (np.random.Generator): Decides all that differs between two of them.

    Returns:
        tuple[Mesh, Colours]: Metres, x forward, standing on z = 0; RGB in 0..1 as a screen shows it.
    """
    parts = Assembly(SurfaceClass.MOTORCYCLIST)
    _add_motorcycle(parts)
    height = rng.uniform(1.65, 1.85)
    s, lean = height / 1.75, rng.uniform(0.15, 0.45)
    hips = np.array([-0.3, 0, 0.88])
    neck = hips + 0.53 * s * np.array([np.sin(lean), 0, np.cos(lean)])
    ankles = np.array([[-0.12, 0.22, 0.36], [-0.12, -0.22, 0.36]])
    hands = np.array([[0.42, 0.33, 1.04], [0.42, -0.33, 1.04]])
    add_person(parts, Pose(height, hips, neck, ankles, hands), 'full-face helmet')
    return _some_size(parts, rng), _paint(rng) | clothes(rng)


def _some_size(parts: Assembly, rng: np.random.Generator) -> Mesh:
    return parts.mesh().moved(scale=(rng.uniform(0.94, 1.05),) * 3)


def _xyz(*xyz_m: float) -> np.ndarray:
    return np.array(xyz_m)


def _paint(rng: np.random.Generator) -> Colours:
    return {Material.CAR_PAINT: _FRAMES[rng.integers(len(_FRAMES))]}


def _add_bicycle(parts: Assembly, rng: np.random.Generator) -> float:
    """Add a bicycle whose bottom bracket is above x = -0.05; return the angle of its left crank."""
    tyre, front, back, bracket = 0.34, 0.56, -0.50, np.array([-0.05, 0, 0.29])
    for x in (front, back):
        parts.ring(tyre - 0.024, 0.024, (x, 0, tyre), Material.RUBBER)
        for angle in np.arange(10) * 2 * np.pi / 10:
            rim = (x + np.cos(angle) * (tyre - 0.03), 0, tyre + np.sin(angle) * (tyre - 0.03))
            parts.tube((x, 0, tyre), rim, 0.005, Material.METAL, sides=3)
        parts.tube((x, -0.06, tyre), (x, 0.06, tyre), 0.025, Material.METAL)
    saddle, head_low, head_high = np.array([-0.23, 0, 0.88]), np.array([0.42, 0, 0.68]), np.array([0.37, 0, 0.90])
    step_through = rng.random() < 0.4
    parts.tube(bracket, saddle, 0.018, Material.CAR_PAINT)
    parts.tube(bracket, head_low, 0.022, Material.CAR_PAINT)
    top = (bracket * 0.65 + saddle * 0.35) if step_through else (bracket * 0.15 + saddle * 0.85)
    parts.tube(
        top, head_low + _xyz(0, 0, 0.05) if step_through else head_high - _xyz(0, 0, 0.06), 0.018, Material.CAR_PAINT
    )
    parts.tube(head_low, head_high, 0.022, Material.CAR_PAINT)
    for y in (-0.05, 0.05):
        parts.tube(head_low, (front, y, tyre), 0.014, Material.CAR_PAINT)
        parts.tube(bracket, (back, y, tyre), 0.012, Material.CAR_PAINT)
        parts.tube(bracket * 0.15 + saddle * 0.85, (back, y, tyre), 0.011, Material.CAR_PAINT)
    parts.ellipsoid((0.14, 0.075, 0.04), saddle + _xyz(-0.02, 0, 0.05), Material.DARK_PLASTIC, rings=4)
    bar = head_high + _xyz(0.03, 0, 0.1)
    parts.tube(head_high, bar, 0.015, Material.METAL)
    parts.polyline([bar, bar + _xyz(0.0, 0.2, 0.03), (0.34, 0.29, bar[2] + 0.03)], 0.014, Material.METAL, both=True)
    crank = rng.uniform(0, 2 * np.pi)
    arm = np.array([np.cos(crank), 0, np.sin(crank)]) * 0.17
    parts.tube(bracket + _xyz(0, -0.055, 0), bracket + _xyz(0, -0.045, 0), 0.09, Material.METAL, sides=10)
    for side in (1, -1):
        y = np.array([0, 0.07 * side, 0])
        parts.tube(bracket + y, bracket + y + side * arm, 0.012, Material.METAL)
        parts.box((0.09, 0.09, 0.025), bracket + y * 1.7 + side * arm, Material.DARK_PLASTIC)
    if rng.random() < 0.6:
        parts.box((0.36, 0.13, 0.02), (back - 0.05, 0, 0.74), Material.METAL)  # luggage carrier
        parts.tube((back - 0.1, 0.06, 0.74), (back, 0.06, tyre), 0.008, Material.METAL, both=True)
    parts.box((0.04, 0.06, 0.06), head_high + _xyz(0.07, 0, 0.0), Material.HEADLIGHT)
    parts.box((0.03, 0.07, 0.05), (back - 0.24, 0, 0.70), Material.TAILLIGHT)
    parts.tube((back - 0.23, 0, 0.70), saddle * 0.7 + bracket * 0.3, 0.008, Material.METAL)
    return crank


def _add_motorcycle(parts: Assembly) -> None:
    """Add a naked motorcycle of 2.1 m."""
    front, back, tyre = 0.70, -0.70, 0.31
    for x, thick in ((front, 0.055), (back, 0.075)):
        parts.ring(tyre - thick, thick, (x, 0, tyre), Material.RUBBER)
        parts.tube((x, -0.05, tyre), (x, 0.05, tyre), 0.07, Material.METAL, sides=8)
        for angle in np.arange(5) * 2 * np.pi / 5:
            rim = (x + np.cos(angle) * (tyre - 0.1), 0, tyre + np.sin(angle) * (tyre - 0.1))
            parts.tube((x, 0, tyre), rim, 0.022, Material.METAL, sides=4)
        parts.tube((x, 0.06, tyre), (x, 0.066, tyre), 0.13, Material.METAL, sides=12)  # brake disc
    parts.tube((front, 0.1, tyre), (0.42, 0.1, 0.98), 0.028, Material.METAL, both=True)  # fork
    parts.beam(
        (front - 0.22, tyre + 0.3), (front + 0.18, tyre + 0.3), (0.03, 0.03), 0.13, Material.CAR_PAINT
    )  # mudguard
    parts.box((0.5, 0.3, 0.36), (0.08, 0, 0.46), Material.METAL)  # engine
    parts.box((0.34, 0.4, 0.16), (0.06, 0, 0.38), Material.DARK_PLASTIC)
    tank = [(0.36, 0.72), (0.32, 0.9), (0.12, 0.96), (-0.14, 0.84), (-0.14, 0.72)]
    parts.extrude(tank, 0.32, Material.CAR_PAINT, top_width_m=0.2)
    seat = [(-0.12, 0.74), (-0.14, 0.82), (-0.45, 0.80), (-0.72, 0.88), (-0.92, 0.86), (-0.92, 0.78), (-0.5, 0.7)]
    parts.extrude(seat[:3] + seat[6:], 0.26, Material.DARK_PLASTIC)
    parts.extrude([seat[2], seat[3], seat[4], seat[5], seat[6]], 0.24, Material.DARK_PLASTIC)
    parts.extrude([(-0.4, 0.6), (-0.4, 0.72), (-0.95, 0.82), (-1.0, 0.78)], 0.2, Material.CAR_PAINT)
    parts.tube((0.42, 0, 0.85), (-0.15, 0, 0.35), 0.035, Material.DARK_PLASTIC)  # frame
    parts.tube((-0.1, 0, 0.7), (0.0, 0, 0.3), 0.05, Material.DARK_PLASTIC)
    parts.tube((-0.1, 0.11, 0.36), (back, 0.11, tyre), 0.035, Material.METAL, both=True)  # swing arm
    parts.tube((-0.45, 0.1, 0.68), (back + 0.1, 0.1, tyre + 0.05), 0.03, Material.METAL, both=True)
    parts.polyline([(0.25, -0.16, 0.42), (0.2, -0.18, 0.26), (-0.35, -0.19, 0.28)], 0.035, Material.METAL)  # exhaust
    parts.tube((-0.35, -0.19, 0.28), (-0.88, -0.21, 0.46), 0.055, Material.METAL, sides=8, end_radius_m=0.065)
    bar = [(0.42, 0.0, 1.0), (0.42, 0.14, 1.05), (0.36, 0.38, 1.04)]
    parts.polyline(bar, 0.016, Material.METAL, both=True)
    parts.tube((0.36, 0.38, 1.04), (0.40, 0.26, 1.045), 0.022, Material.DARK_PLASTIC, both=True)
    parts.tube((0.40, 0.24, 1.05), (0.38, 0.3, 1.18), 0.008, Material.DARK_PLASTIC, both=True)
    parts.box((0.02, 0.12, 0.07), (0.37, 0.32, 1.19), Material.DARK_PLASTIC, both=True)  # mirrors
    parts.tube((0.46, 0, 0.9), (0.6, 0, 0.88), 0.1, Material.DARK_PLASTIC, sides=10)
    parts.tube((0.6, 0, 0.88), (0.62, 0, 0.88), 0.09, Material.HEADLIGHT, sides=10)
    parts.box((0.05, 0.16, 0.07), (-0.99, 0, 0.76), Material.TAILLIGHT)
    parts.box((0.02, 0.2, 0.13), (-0.99, 0, 0.6), Material.REFLECTIVE_WHITE)
    parts.beam((-0.9, 0.76), (-0.99, 0.56), (0.02, 0.02), 0.12, Material.DARK_PLASTIC)
