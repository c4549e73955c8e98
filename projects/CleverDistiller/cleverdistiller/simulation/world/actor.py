"""An object of the world and where it is at any time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.things.objects import ObjectModel
from cleverdistiller.simulation.world.ground import Ground

DISCS = 6


@dataclass(frozen=True)
class Actor:
    """Moves evenly along or across the road, or stands.

    Args:
        instance (int): 1, 2, ... in its scene.
        surface (SurfaceClass): What it is.
        model (ObjectModel): Its shape.
        along_m (float): Along-position on the road at time 0.
        lateral_m (float): Lateral position at time 0.
        speed_mps (tuple[float, float]): Along and lateral.
        turn (float): Its heading minus the road's, radians.
        parked (bool): Without a driver.
    """

    instance: int
    surface: SurfaceClass
    model: ObjectModel
    along_m: float
    lateral_m: float
    speed_mps: tuple[float, float]
    turn: float
    parked: bool

    def footprint(self, ground: Ground, times_s: np.ndarray) -> tuple[np.ndarray, float]:
        """Cover its outline with ``DISCS`` discs; they overlap for anything shorter than six times its width.

        Args:
            ground (Ground): Of the scene.
            times_s (np.ndarray): (T,).

        Returns:
            tuple[np.ndarray, float]: (T, ``DISCS``, 2) middles in world metres, and their radius.
        """
        along = self.along_m + self.speed_mps[0] * times_s
        xy, heading = ground.road.at(along, self.lateral_m + self.speed_mps[1] * times_s)
        length, width = self.model.size_lwh_m[:2]
        ahead = np.stack([np.cos(heading + self.turn), np.sin(heading + self.turn)], -1)
        reach = max(length - width, 0.0) / 2
        return xy[:, None] + ahead[:, None] * (np.linspace(-1, 1, DISCS) * reach)[None, :, None], width / 2
