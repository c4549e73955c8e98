"""Who is on the road and beside it: driving, parked, walking, at work."""

from __future__ import annotations

import numpy as np

from cleverdistiller.errors import InputError
from cleverdistiller.simulation.surfaces import OBJECT_CLASSES, SurfaceClass
from cleverdistiller.simulation.things.objects import make_object
from cleverdistiller.simulation.world.actor import Actor
from cleverdistiller.simulation.world.ground import BLOCK_M, Ground
from cleverdistiller.simulation.world.layout import Layout
from cleverdistiller.simulation.world.road import LANE_M

S = SurfaceClass
DRIVING = {S.CAR: 0.79, S.TRUCK: 0.05, S.BUS: 0.05, S.MOTORCYCLIST: 0.07, S.TRAILER: 0.04}
ROADSIDE = {S.CAR: 0.84, S.TRUCK: 0.06, S.TRAILER: 0.03, S.MOTORCYCLE: 0.07}
NEAR_M = 35.0  # every class stands this near the drive at least once


def populate(
    rng: np.random.Generator, ground: Ground, layout: Layout, start_m: float, drive_m: float, speed_mps: float
) -> dict[int, Actor]:
    """Fill a scene with objects.

    Args:
        rng (np.random.Generator): Source of chance.
        ground (Ground): Of the scene.
        layout (Layout): Knows what is taken.
        start_m (float): Along-position where the recording car starts.
        drive_m (float): How far it drives.
        speed_mps (float): Its speed: its lane flows with it.

    Returns:
        dict[int, Actor]: Instance to object.
    """
    crowd = _Crowd(rng, ground, layout)
    crowd.drive(speed_mps)
    crowd.park_at_kerbs()
    crowd.cross_side_streets()
    for side in (1, -1):
        for block in range(ground.land.shape[1]):
            crowd.fill_block(side, block)
        crowd.walk(side)
    crowd.cycle()
    crowd.use_crossings()
    crowd.complete(start_m, drive_m)
    return crowd.actors


class _Crowd:
    def __init__(self, rng: np.random.Generator, ground: Ground, layout: Layout) -> None:
        self.rng, self.ground, self.road, self.layout = rng, ground, ground.road, layout
        self.actors: dict[int, Actor] = {}
        self.duration_s = float(layout.times_s[-1])

    def add(
        self,
        surface: SurfaceClass,
        along_m: float,
        lateral_m: float,
        speed_mps: tuple[float, float] = (0.0, 0.0),
        turn: float = 0.0,
        parked: bool = False,
        gap_m: float = 0.3,
    ) -> bool:
        """Put an object there unless the place is taken at any time."""
        instance = len(self.actors) + 1
        # Its own stream of chance: whether a place is free must not change what others look like.
        model = make_object(surface, np.random.default_rng(self.rng.integers(2**63)))
        actor = Actor(instance, surface, model, along_m, lateral_m, speed_mps, turn, parked)
        if not self.layout.claim(actor, gap_m):
            return False
        self.actors[instance] = actor
        return True

    def drive(self, ego_speed_mps: float) -> None:
        """Vehicles in every lane; those of one lane keep their distance because they drive at one speed."""
        for direction in (1, -1):
            for lane in range(self.road.lanes):
                speed = ego_speed_mps if direction > 0 and lane == 0 else float(self.rng.uniform(4, 13))
                lateral = direction * self.road.lane_centre_m(lane)
                reach = speed * self.duration_s
                along = -reach + self.rng.uniform(0, 25)
                while along < self.road.length_m + reach:
                    surface = self._draw(DRIVING)
                    towed = surface == S.TRAILER
                    self.add(
                        S.TRUCK if towed else surface, along, lateral, (direction * speed, 0.0), _facing(direction)
                    )
                    if towed:
                        self.add(
                            surface,
                            along - direction * 11.3,
                            lateral,
                            (direction * speed, 0.0),
                            _facing(direction),
                        )
                    along += self.rng.uniform(16, 48)

    def park_at_kerbs(self) -> None:
        """Cars in the parking lanes, and now and then a truck, a trailer or motorcycles."""
        for side, parking, half in zip((1, -1), self.road.parking, self.road.half_widths_m):
            if not parking:
                continue
            for along in np.arange(4, self.road.length_m, 6.6):
                if self.rng.random() < 0.55 and self._is_clear_of_crossings(along, 13.0):
                    surface = self._draw(ROADSIDE)
                    self.add(surface, along, side * (half - 1.25), turn=_facing(-side), parked=True)

    def cross_side_streets(self) -> None:
        """Cars that wait on the side streets."""
        for junction in self.road.side_streets_m:
            for side in (1, -1):
                for row in range(3):
                    if self.rng.random() < 0.5:
                        lateral = side * (max(self.road.half_widths_m) + 9 + row * self.rng.uniform(8, 11))
                        self.add(S.CAR, junction + side * 1.9, lateral, turn=-side * np.pi / 2)

    def fill_block(self, side: int, block: int) -> None:
        """What the land's use brings along."""
        use = self.ground.use(side, block)
        start, rng = block * BLOCK_M, self.rng
        edge = self.road.half_width_m(side) + self.ground.sidewalk_m
        if use == 'car park':
            depth = max(self.road.half_widths_m) + self.ground.sidewalk_m
            for row, along in [(r, a) for r in (3.5, 14.5) for a in np.arange(start + 1.3, start + BLOCK_M, 2.6)]:
                if rng.random() < 0.6:
                    surface = self._draw({S.CAR: 0.93, S.MOTORCYCLE: 0.07})
                    self.add(surface, along, side * (depth + row), turn=rng.choice([-1, 1]) * np.pi / 2, parked=True)
            self.add(S.TRAILER, start + rng.uniform(8, 18), side * (depth + 9.2), parked=True)
        elif use == 'plaza':
            for _ in range(rng.integers(4, 9)):
                self.add(
                    S.BICYCLE,
                    start + rng.uniform(1, 25),
                    side * (edge + rng.uniform(0.8, 2)),
                    turn=rng.uniform(1.2, 1.9),
                    parked=True,
                )
            for _ in range(rng.integers(5, 11)):
                self._walker(start + rng.uniform(0, BLOCK_M), side * (edge + rng.uniform(3, 10)))
        elif use == 'works':
            self._works(start, side, edge)
        elif use == 'houses':
            for _ in range(rng.integers(0, 4)):
                self.add(
                    S.BICYCLE,
                    start + rng.uniform(1, 25),
                    side * (edge - 0.35),
                    turn=rng.uniform(-0.3, 0.3),
                    parked=True,
                )

    def walk(self, side: int) -> None:
        """Pedestrians on the sidewalk."""
        half = self.road.half_width_m(side)
        for along in np.arange(0, self.road.length_m, 7.0):
            if self.rng.random() < 0.5:
                lateral = side * (half + self.rng.uniform(1.5, self.ground.sidewalk_m - 0.3))
                for _ in range(self.rng.integers(1, 4)):
                    self._walker(along + self.rng.uniform(0, 2.5), lateral + self.rng.uniform(-0.4, 0.4))

    def cycle(self) -> None:
        """Bicycle riders at the right edge of the lanes."""
        edge = self.road.lanes * LANE_M - 0.55
        for direction in (1, -1):
            for along in np.arange(self.rng.uniform(0, 30), self.road.length_m, 33.0):
                if self.rng.random() < 0.6:
                    speed = direction * self.rng.uniform(3, 6)
                    self.add(S.BICYCLIST, along, -direction * edge, (speed, 0.0), _facing(direction), gap_m=0.1)

    def use_crossings(self) -> None:
        """People on the zebra crossings."""
        for crossing in self.road.crossings_m:
            for _ in range(5):
                pace = float(self.rng.choice([-1, 1]) * self.rng.uniform(0.9, 1.5))
                lateral = self.rng.uniform(-1, 1) * max(self.road.half_widths_m)
                self.add(
                    S.PEDESTRIAN,
                    crossing + self.rng.uniform(-1.2, 1.2),
                    lateral,
                    (0.0, pace),
                    np.sign(pace) * np.pi / 2,
                )

    def complete(self, start_m: float, drive_m: float) -> None:
        """See that no class is missing near the drive.

        Raises:
            InputError: If there is no room for one.
        """
        for surface in OBJECT_CLASSES:
            for _ in range(400):
                along = [
                    a.along_m + a.speed_mps[0] * self.duration_s / 2
                    for a in self.actors.values()
                    if a.surface == surface
                ]
                middle = start_m + drive_m / 2
                if any(abs(a - middle) < drive_m / 2 + NEAR_M for a in along):
                    break
                place = start_m + self.rng.uniform(-NEAR_M, drive_m + NEAR_M) * 0.9
                side = self.rng.choice([-1, 1])
                kerb = self.road.half_width_m(side)
                on_land = side * (kerb + self.ground.sidewalk_m + self.rng.uniform(2, 14))
                if surface in (S.TRUCK, S.BUS, S.TRAILER, S.CONSTRUCTION_VEHICLE):
                    self.add(surface, place, on_land, turn=self.rng.uniform(0, 0.4), parked=True)
                elif surface in (S.CAR, S.MOTORCYCLIST):
                    lane, speed = self.rng.integers(self.road.lanes), self.rng.uniform(3, 11)
                    self.add(surface, place, -side * (lane + 0.5) * LANE_M, (side * speed, 0.0), _facing(side))
                elif surface == S.BICYCLIST:  # on the sidewalk, where people cycle too
                    lateral, speed = (
                        -side * (kerb + self.rng.uniform(1, self.ground.sidewalk_m)),
                        self.rng.uniform(0, 4),
                    )
                    self.add(surface, place, lateral, (side * speed, 0.0), _facing(side), gap_m=0.1)
                else:
                    self.add(surface, place, side * (kerb + self.rng.uniform(0.5, self.ground.sidewalk_m)), parked=True)
            else:
                raise InputError(
                    f'a street without room for a {surface.name}', 'one of each class', 'try another --seed'
                )

    def _works(self, start: float, side: int, edge: float) -> None:
        """A building site: barriers along the sidewalk, cones, machines and workers."""
        rng = self.rng
        for along in np.arange(start + 1.2, start + BLOCK_M - 1, 2.4):
            self.add(S.BARRIER, along, side * (edge + 0.4), turn=rng.normal(0, 0.03), gap_m=0.0)
        kerb = self.road.half_width_m(side)
        for along in np.arange(start + 2, start + BLOCK_M, 3.5):
            self.add(S.TRAFFIC_CONE, along, side * (kerb - 0.6 + rng.normal(0, 0.05)), gap_m=0.0)
        for _ in range(3):
            self.add(
                S.CONSTRUCTION_VEHICLE,
                start + rng.uniform(4, BLOCK_M - 4),
                side * (edge + rng.uniform(5, 16)),
                turn=rng.uniform(0, 6),
                parked=True,
            )
        self.add(S.TRUCK, start + rng.uniform(5, BLOCK_M - 5), side * (edge + 4.5), parked=True)
        for _ in range(4):
            self._walker(start + rng.uniform(2, BLOCK_M - 2), side * (edge + rng.uniform(1.5, 12)))

    def _walker(self, along_m: float, lateral_m: float) -> None:
        direction = self.rng.choice([-1, 1])
        pace = direction * self.rng.uniform(0.8, 1.7) if self.rng.random() < 0.75 else 0.0
        turn = _facing(direction) if pace else self.rng.uniform(-np.pi, np.pi)
        self.add(S.PEDESTRIAN, along_m, lateral_m, (float(pace), 0.0), float(turn), gap_m=0.25)

    def _draw(self, shares: dict[SurfaceClass, float]) -> SurfaceClass:
        return list(shares)[self.rng.choice(len(shares), p=list(shares.values()))]

    def _is_clear_of_crossings(self, along_m: float, distance_m: float) -> bool:
        points = (*self.road.crossings_m, *self.road.side_streets_m)
        return all(abs(along_m - point) > distance_m for point in points)


def _facing(direction: int) -> float:
    """Turn that heads along the road (1) or against it (-1)."""
    return 0.0 if direction > 0 else np.pi
