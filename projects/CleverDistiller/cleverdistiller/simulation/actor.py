"""An object of the world and where it is at any time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cleverdistiller.simulation.frame import ObjectState
from cleverdistiller.simulation.ground import Ground
from cleverdistiller.simulation.objects import ObjectModel
from cleverdistiller.simulation.surfaces import SurfaceClass


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

    def state(self, ground: Ground, time_s: float) -> ObjectState:
        """Where it is, its box and its speed."""
        (xy, later), (yaw, _) = ground.road.at(*self._places(np.array([time_s, time_s + 0.05])))
        foot = float(ground.height(xy)[0])
        velocity = (*((later - xy) / 0.05), 0.0) if any(self.speed_mps) else (0.0, 0.0, 0.0)
        return ObjectState(
            instance=self.instance,
            surface=self.surface,
            centre_world_m=np.array([*xy, foot]) + self.model.middle_m,
            size_lwh_m=self.model.size_lwh_m,
            yaw_world=float((yaw + self.turn + np.pi) % (2 * np.pi) - np.pi),
            velocity_world_mps=np.array(velocity),
            parked=self.parked,
        )

    def footprint(self, ground: Ground, times_s: np.ndarray) -> tuple[np.ndarray, float]:
        """Cover its outline with three discs.

        Args:
            ground (Ground): Of the scene.
            times_s (np.ndarray): (T,).

        Returns:
            tuple[np.ndarray, float]: (T, 3, 2) middles in world metres, and their radius.
        """
        xy, heading = ground.road.at(*self._places(times_s))
        length, width = self.model.size_lwh_m[:2]
        ahead = np.stack([np.cos(heading + self.turn), np.sin(heading + self.turn)], -1)
        reach = max(length - width, 0.0) / 2
        return xy[:, None] + ahead[:, None] * (np.array([-1, 0, 1]) * reach)[None, :, None], width / 2

    def _places(self, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(along, lateral) at each time."""
        return self.along_m + self.speed_mps[0] * times_s, self.lateral_m + self.speed_mps[1] * times_s
