"""A street: its centreline, its lanes and the side streets that cross it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEP_M = 0.5  # between samples of the centreline
LANE_M = 3.5
PARKING_LANE_M = 2.5
SIDE_STREET_HALF_M = 4.0


@dataclass(frozen=True)
class Road:
    """A centreline in the world with a cross-section that is the same all along.

    Positions on it are (along, lateral): metres from its start, and metres to the left of the centreline.

    Args:
        xy_world_m (np.ndarray): (S, 2) centreline, every ``STEP_M``.
        heading (np.ndarray): (S,) radians, without jumps.
        lanes (int): In each direction; traffic keeps to the right.
        parking (tuple[bool, bool]): A parking lane on the left, on the right.
        crossings_m (tuple[float, ...]): Along-positions of zebra crossings between junctions.
        side_streets_m (tuple[float, ...]): Along-positions where a straight street crosses at a right angle.
    """

    xy_world_m: np.ndarray
    heading: np.ndarray
    lanes: int
    parking: tuple[bool, bool]
    crossings_m: tuple[float, ...]
    side_streets_m: tuple[float, ...]

    @property
    def length_m(self) -> float:
        """Length of the centreline."""
        return (len(self.heading) - 1) * STEP_M

    @property
    def half_widths_m(self) -> tuple[float, float]:
        """Centreline to kerb, on the left and on the right."""
        driven = self.lanes * LANE_M + 0.25
        return tuple(driven + PARKING_LANE_M * parked for parked in self.parking)

    def half_width_m(self, side: int) -> float:
        """Centreline to kerb on one side: 1 is the left, -1 the right."""
        return self.half_widths_m[0 if side > 0 else 1]

    def at(self, along_m: np.ndarray, lateral_m: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Find places on the road.

        Args:
            along_m (np.ndarray): (...) metres from the start; beyond either end the road goes straight on.
            lateral_m (np.ndarray | float): (...) metres to the left.

        Returns:
            tuple[np.ndarray, np.ndarray]: (..., 2) world metres and (...) heading in radians.
        """
        along_m = np.asarray(along_m, float)
        samples = np.arange(len(self.heading)) * STEP_M
        heading = np.interp(along_m, samples, self.heading)
        xy = np.stack([np.interp(along_m, samples, column) for column in self.xy_world_m.T], -1)
        beyond = along_m - np.clip(along_m, 0, self.length_m)
        ahead = np.stack([np.cos(heading), np.sin(heading)], -1)
        left = np.stack([-np.sin(heading), np.cos(heading)], -1)
        return xy + ahead * beyond[..., None] + left * np.asarray(lateral_m)[..., None], heading

    def lane_centre_m(self, lane: int) -> float:
        """Lateral position of lane 0, 1, ... on the right of the centreline; the opposite ones lie at its negative."""
        return -(lane + 0.5) * LANE_M


def make_road(rng: np.random.Generator, length_m: float, lanes: int) -> Road:
    """Draw straight and curved stretches, crossings and side streets.

    Args:
        rng (np.random.Generator): Source of chance.
        length_m (float): Length of the centreline.
        lanes (int): In each direction.

    Returns:
        Road: It starts at (0, 0) and heads anywhere.
    """
    curvature = []
    turned = 0.0
    while len(curvature) * STEP_M < length_m:
        stretch_m = rng.uniform(40, 90)
        bend = 0.0 if rng.random() < 0.4 else rng.uniform(1 / 200, 1 / 70) * rng.choice([-1, 1])
        if abs(turned + bend * stretch_m) > 1.2:  # the street never meets itself
            bend = -bend
        turned += bend * stretch_m
        # A bend sets in and ends gradually, as roads are laid out.
        curvature += list(bend * np.hanning(int(stretch_m / STEP_M)) * 2)
    count = int(length_m / STEP_M) + 1
    heading = rng.uniform(-np.pi, np.pi) + np.cumsum(np.array(curvature[:count])) * STEP_M
    steps = np.stack([np.cos(heading), np.sin(heading)], 1) * STEP_M
    xy = np.concatenate([np.zeros((1, 2)), np.cumsum(steps[:-1], 0)])
    side_streets = np.arange(rng.uniform(60, 120), length_m - 30, rng.uniform(95, 150))
    crossings = [s + rng.uniform(35, 55) for s in side_streets if s + 60 < length_m]
    parking = tuple(bool(rng.random() < 0.7) for _ in range(2))
    return Road(xy, heading, lanes, parking, tuple(map(float, crossings)), tuple(map(float, side_streets)))
