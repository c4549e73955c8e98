"""One simulated place for a few seconds: ground, fixed things, moving things, the light and the car's drive."""

from __future__ import annotations

import cv2
import numpy as np

from cleverdistiller.simulation.frame import ObjectState
from cleverdistiller.simulation.things import appearance
from cleverdistiller.simulation.things.raycast import MeshIndex
from cleverdistiller.simulation.world.actor import Actor
from cleverdistiller.simulation.world.ground import CELL_M, make_ground
from cleverdistiller.simulation.world.land import draw_land
from cleverdistiller.simulation.world.layout import Layout
from cleverdistiller.simulation.world.road import STEP_M, make_road
from cleverdistiller.simulation.world.scenery import build_scenery
from cleverdistiller.simulation.world.traffic import populate

BEHIND_M, AHEAD_M = 95.0, 125.0  # of street before the drive's start and after its end
SEEN_M = 110.0  # objects farther away are left out of a frame
VELOCITY_STEP_S = 0.05


class Scene:
    """Drawn from a seed; the same seed, number and duration give the same scene.

    Args:
        seed (int): Of the whole set.
        index (int): Number of the scene.
        duration_s (float): How long the car drives.

    Attributes:
        ground (Ground): What lies where.
        fixed (MeshIndex): The ground's triangles, ``ground_triangles`` of them, then everything that never moves.
        fixed_colour (np.ndarray): (T, 3) float32 linear RGB of the triangles of ``fixed``.
        actors (dict[int, Actor]): Instance to object.
        sun (np.ndarray): (3,) unit vector towards the sun.
        sun_strength (float): 0 under clouds, 1 on a clear day.
    """

    def __init__(self, seed: int, index: int, duration_s: float) -> None:
        self.seed, self.index, self.duration_s = seed, index, duration_s
        rng = np.random.default_rng([seed, index])
        self.speed_mps = float(rng.uniform(5.0, 11.0))
        drive_m = self.speed_mps * duration_s
        lanes = int(rng.integers(1, 3))
        road = make_road(rng, BEHIND_M + drive_m + AHEAD_M, lanes)
        land = draw_land(rng, road.length_m, busy_m=(BEHIND_M, BEHIND_M + drive_m))
        self.ground, self.road = make_ground(rng, road, land)
        self._start_m, self._lane_m = BEHIND_M, self.road.lane_centre_m(0)

        layout = Layout(self.ground, duration_s, (self._start_m, self._lane_m, self.speed_mps))
        scenery, colour = build_scenery(rng, self.ground, layout)
        self.actors: dict[int, Actor] = populate(rng, self.ground, layout, self._start_m, drive_m, self.speed_mps)

        self._actor_list = list(self.actors.values())
        self._actor_places = np.array([(a.along_m, a.lateral_m) for a in self._actor_list]).T  # (2, A)
        self._actor_speeds = np.array([a.speed_mps for a in self._actor_list]).T
        self._shapes: dict[int, tuple[MeshIndex, np.ndarray]] = {}
        ground_mesh = self.ground.mesh()
        self.ground_triangles = len(ground_mesh)
        self.fixed = MeshIndex(ground_mesh.join([ground_mesh, scenery]))
        self.fixed_colour = np.concatenate([np.zeros((len(ground_mesh), 3), np.float32), colour])

        azimuth, elevation = rng.uniform(-np.pi, np.pi), np.deg2rad(rng.uniform(25, 60))
        flat = np.cos(elevation)
        self.sun = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
        self.sun_strength = float(rng.choice([1.0, 1.0, 0.75, 0.25]))

    def ego2world(self, times_s: np.ndarray) -> np.ndarray:
        """The car's pose.

        Args:
            times_s (np.ndarray): (T,) seconds; may lie before 0 and after the end.

        Returns:
            np.ndarray: (T, 4, 4) float64.
        """
        along = self._start_m + self.speed_mps * np.asarray(times_s, float)
        xy, heading = self.road.at(along, self._lane_m)
        ahead = np.stack([np.cos(heading), np.sin(heading)], -1)
        left = np.stack([-np.sin(heading), np.cos(heading)], -1)
        base = 4 * STEP_M  # a car's wheels average the ground over about this distance
        height = lambda offset: self.ground.height(xy + offset).astype(float)
        rise = (height(ahead * base) - height(-ahead * base)) / (2 * base)
        bank = (height(left) - height(-left)) / 2
        x = np.concatenate([ahead, rise[:, None]], 1)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        y = np.concatenate([left, bank[:, None]], 1)
        z = np.cross(x, y)
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        pose = np.tile(np.eye(4), (len(along), 1, 1))
        pose[:, :3, :3] = np.stack([x, np.cross(z, x), z], -1)
        pose[:, :2, 3] = xy
        pose[:, 2, 3] = (height(ahead * base) + height(-ahead * base)) / 2
        return pose

    def objects_at(self, time_s: float) -> list[ObjectState]:
        """Every object near the car at ``time_s``, by instance; the sides of a box are the extremes of the mesh."""
        here = self.ego2world(np.array([time_s]))[0, :2, 3]
        xy, heading = self._actors_at(time_s)
        later, _ = self._actors_at(time_s + VELOCITY_STEP_S)
        velocity = (later - xy) / VELOCITY_STEP_S
        foot = self.ground.height(xy)
        states = []
        for i in np.flatnonzero(np.linalg.norm(xy - here, axis=1) < SEEN_M):
            actor = self._actor_list[i]
            states.append(
                ObjectState(
                    time_s=time_s,
                    instance=actor.instance,
                    surface=actor.surface,
                    centre_world_m=np.array([*xy[i], foot[i]]) + actor.model.middle_m,
                    size_lwh_m=actor.model.size_lwh_m,
                    yaw_world=float((heading[i] + actor.turn + np.pi) % (2 * np.pi) - np.pi),
                    velocity_world_mps=np.array([*velocity[i], 0.0]),
                    parked=actor.parked,
                )
            )
        return states

    def _actors_at(self, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        """(A, 2) places of all actors and (A,) heading of the road there."""
        along, lateral = self._actor_places + self._actor_speeds * time_s
        return self.road.at(along, lateral)

    def shape(self, instance: int) -> tuple[MeshIndex, np.ndarray]:
        """Triangles of an object in its own frame, and their (T, 3) linear RGB."""
        if instance not in self._shapes:
            model = self.actors[instance].model
            colour = appearance.COLOUR.copy()
            for material, rgb in model.colours.items():
                colour[material] = rgb
            self._shapes[instance] = MeshIndex(model.mesh), colour[model.mesh.material]
        return self._shapes[instance]

    def origin_of(self, state: ObjectState) -> np.ndarray:
        """(3,) world position of the frame of an object's mesh."""
        return state.centre_world_m - self.actors[state.instance].model.middle_m

    def drivable_map(self, metres_per_pixel: float) -> np.ndarray:
        """Draw where one may drive.

        Args:
            metres_per_pixel (float): Size of a pixel.

        Returns:
            np.ndarray: (H, W) bool; the lower left corner is the world's (0, 0).
        """
        width_m, height_m = self.ground.extent_m
        x = (np.arange(int(width_m / metres_per_pixel)) + 0.5) * metres_per_pixel / CELL_M
        y = (np.arange(int(height_m / metres_per_pixel)) + 0.5)[::-1] * metres_per_pixel / CELL_M
        _, lateral, side_street, _ = self.ground.table.numpy()
        edge = self.ground.edge_distance(lateral, side_street).astype(np.float32)
        # Row by row of the map: millions of pixels at once would take gigabytes.
        row = lambda value: cv2.remap(edge, x[None].astype(np.float32), np.full((1, len(x)), value, np.float32), 1)[0]
        return np.stack([row(value) < 0 for value in y])
