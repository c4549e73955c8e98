"""Keeps things from standing in or driving through each other."""

from __future__ import annotations

import numpy as np

from cleverdistiller.simulation.world.actor import DISCS, Actor
from cleverdistiller.simulation.world.ground import Ground

EGO_LENGTH_M, EGO_WIDTH_M = 4.3, 1.8
STEP_S = 0.2  # a car at 15 m/s moves less than its length
EGO_MIDDLE_M = 1.3  # ahead of the rear axle


class Layout:
    """Discs that are taken, at each of a few times during the scene.

    Args:
        ground (Ground): Of the scene.
        duration_s (float): How long things must not meet.
        ego (tuple[float, float, float]): Along- and lateral position at time 0, and speed, of the recording car.
    """

    def __init__(self, ground: Ground, duration_s: float, ego: tuple[float, float, float]) -> None:
        self.ground = ground
        self.times_s = np.arange(-0.2, duration_s + STEP_S, STEP_S)
        along, lateral, speed = ego
        xy, heading = ground.road.at(along + EGO_MIDDLE_M + speed * self.times_s, lateral)
        ahead = np.stack([np.cos(heading), np.sin(heading)], -1)
        reach = np.linspace(-1, 1, DISCS) * (EGO_LENGTH_M - EGO_WIDTH_M) / 2
        self._middles: list[np.ndarray] = []  # (T, DISCS, 2) each
        self._centres: list[np.ndarray] = []  # (T, 2) each
        self._radii: list[float] = []
        self._take(xy[:, None] + ahead[:, None] * reach[None, :, None], EGO_WIDTH_M / 2)

    def claim(self, actor: Actor, gap_m: float = 0.3) -> bool:
        """Take an actor's place at all times, unless something is there.

        Args:
            actor (Actor): Who wants to be there.
            gap_m (float): Room around it.

        Returns:
            bool: Whether the place was free.
        """
        middles, radius = actor.footprint(self.ground, self.times_s)
        return self._claim(middles, radius, gap_m)

    def claim_disc(self, xy_world_m: np.ndarray, radius_m: float, gap_m: float = 0.2) -> bool:
        """Take a fixed disc, unless something is there.

        Args:
            xy_world_m (np.ndarray): (2,).
            radius_m (float): Its size.
            gap_m (float): Room around it.

        Returns:
            bool: Whether the place was free.
        """
        return self._claim(np.broadcast_to(xy_world_m, (len(self.times_s), DISCS, 2)), radius_m, gap_m)

    def claim_strip(self, ends_world_m: np.ndarray, width_m: float) -> bool:
        """Take a fixed rectangle given by the two ends of its long axis, (2, 2) metres."""
        length = float(np.linalg.norm(ends_world_m[1] - ends_world_m[0]))
        count = int(np.ceil(length / max(width_m, 0.5))) + 1
        share = np.linspace(0, 1, count)[:, None]
        middles = ends_world_m[0] * (1 - share) + ends_world_m[1] * share
        middles = np.concatenate([middles, np.repeat(middles[-1:], -count % DISCS, 0)]).reshape(-1, DISCS, 2)
        free = all(self._is_free(np.broadcast_to(m, (len(self.times_s), DISCS, 2)), width_m / 2, 0.1) for m in middles)
        if free:
            for m in middles:
                self._take(np.broadcast_to(m, (len(self.times_s), DISCS, 2)), width_m / 2)
        return free

    def _claim(self, middles: np.ndarray, radius_m: float, gap_m: float) -> bool:
        free = self._is_free(middles, radius_m, gap_m)
        if free:
            self._take(middles, radius_m)
        return free

    def _take(self, middles: np.ndarray, radius_m: float) -> None:
        self._middles.append(middles)
        self._centres.append(middles.mean(1))
        self._radii.append(radius_m)

    def _is_free(self, middles: np.ndarray, radius_m: float, gap_m: float) -> bool:
        reach = np.array(self._radii) + radius_m + gap_m
        # The centres first: most of the others are far away.
        x, y = (np.stack(self._centres) - middles.mean(1)).transpose(2, 0, 1)  # (K, T) each
        near = np.flatnonzero((x * x + y * y).min(1) < (reach + 14) ** 2)
        if not len(near):
            return True
        taken = np.stack([self._middles[i] for i in near])  # (k, T, DISCS, 2)
        offset = taken[:, :, :, None] - middles[None, :, None]  # (k, T, DISCS, DISCS, 2)
        distance = np.linalg.norm(offset, axis=-1).min((1, 2, 3))
        return bool((distance > reach[near]).all())
