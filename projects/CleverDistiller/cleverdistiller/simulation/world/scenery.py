"""Everything fixed above the ground: houses, walls, trees, lamps, signs."""

from __future__ import annotations

import numpy as np

from cleverdistiller.simulation.surfaces import Material, SurfaceClass
from cleverdistiller.simulation.things import appearance, props
from cleverdistiller.simulation.things.mesh import Mesh, from_faces
from cleverdistiller.simulation.world.ground import BLOCK_M, Ground
from cleverdistiller.simulation.world.layout import Layout

HILLS_M = 220.0  # beyond the ground's corners

HOUSE_TINTS = np.array(
    [(1.2, 1.15, 1.0), (1.0, 0.75, 0.5), (0.8, 0.8, 0.85), (1.1, 0.9, 0.65), (0.75, 0.45, 0.35), (0.95, 1.0, 0.9)]
)


def build_scenery(rng: np.random.Generator, ground: Ground, layout: Layout) -> tuple[Mesh, np.ndarray]:
    """Furnish both sides of the street, block by block.

    Args:
        rng (np.random.Generator): Source of chance.
        ground (Ground): Of the scene.
        layout (Layout): Learns where things stand.

    Returns:
        tuple[Mesh, np.ndarray]: All of it in world coordinates, and the (T, 3) linear RGB of its triangles.
    """
    builder = _Builder(rng, ground, layout)
    for side in (1, -1):
        builder.furnish_kerb(side)
        for block in range(ground.land.shape[1]):
            builder.furnish_block(side, block)
    builder.close_the_horizon()
    return Mesh.join(builder.meshes), np.concatenate(builder.colours)


class _Builder:
    def __init__(self, rng: np.random.Generator, ground: Ground, layout: Layout) -> None:
        self.rng, self.ground, self.road, self.layout = rng, ground, ground.road, layout
        self.meshes: list[Mesh] = []
        self.colours: list[np.ndarray] = []
        self.trees = [props.tree(rng) for _ in range(10)]  # a street's trees are a few kinds, turned and scaled
        self.bushes = [props.bush(rng) for _ in range(6)]

    def furnish_kerb(self, side: int) -> None:
        """Lamps, street trees, signs and traffic lights between kerb and walkway."""
        rng, kerb = self.rng, self.road.half_width_m(side)
        for along in np.arange(rng.uniform(5, 25), self.road.length_m, 28.0):
            self._stand(props.pole(rng), along, side, kerb + 0.7, radius_m=0.2, face_road=True)
        for start in np.arange(0, self.road.length_m, 50.0):
            if rng.random() < 0.5:
                for along in np.arange(start + 3, start + 47, rng.uniform(8, 12)):
                    self._tree(along, side, kerb + 0.9, scale=0.75)
        for along in np.arange(rng.uniform(8, 40), self.road.length_m, rng.uniform(30, 45)):
            self._stand(props.sign(rng), along, side, kerb + 0.55, radius_m=0.25, turn=np.pi if side < 0 else 0.0)
        for crossing in self.road.crossings_m:  # a bus stop
            self._stand(props.bus_shelter(), crossing + 9, side, kerb + 1.3, radius_m=1.6, face_road=True)
        for junction in self.road.side_streets_m:
            for before in (-1, 1):
                self._stand(
                    props.traffic_light(rng),
                    junction + before * 10.5,
                    side,
                    kerb + 0.6,
                    0.2,
                    turn=np.pi if side < 0 else 0.0,
                )

    def furnish_block(self, side: int, block: int) -> None:
        """What belongs to the land's use."""
        use = self.ground.use(side, block)
        start, edge = block * BLOCK_M, self.road.half_width_m(side) + self.ground.sidewalk_m
        rng = self.rng
        if use == 'houses':
            self._houses(start, side, edge + rng.uniform(0.3, 2.5), high_m=(7, 20))
        elif use == 'gardens':
            self._enclosure(start, side, edge + 0.7)
            self._houses(start, side, edge + rng.uniform(7, 11), high_m=(5, 9), gap_m=5.0)
            for _ in range(4):
                self._tree(start + rng.uniform(1, BLOCK_M - 1), side, edge + rng.uniform(2.5, 6), scale=0.7)
            for _ in range(7):
                self._bush(start + rng.uniform(0, BLOCK_M), side, edge + rng.uniform(1.2, 6))
        elif use == 'park':
            for _ in range(12):
                self._tree(start + rng.uniform(0, BLOCK_M), side, edge + rng.uniform(3, 50), scale=1.0)
            for _ in range(8):
                self._bush(start + rng.uniform(0, BLOCK_M), side, edge + rng.uniform(1, 25))
        elif use == 'car park':
            self._fence(start, side, edge + 20.0)
            self._houses(start, side, edge + 24.0, high_m=(6, 11))
        elif use == 'plaza':
            self._houses(start, side, edge + rng.uniform(12, 16), high_m=(9, 24))
            for along in np.arange(start + 8, start + BLOCK_M, 8.0):
                self._stand(props.bench(), along, side, edge + 2.0, radius_m=0.9, face_road=True)
            for along in np.arange(start + 4, start + BLOCK_M, 8.0):
                self._tree(along, side, edge + 3.0, scale=0.6)
        else:  # works
            self._enclosure(start, side, edge + 22.0, kind='fence')
        if use != 'car park' and rng.random() < 0.8:  # what closes the view farther back
            self._houses(start, side, edge + rng.uniform(32, 55), high_m=(8, 28))

    def close_the_horizon(self) -> None:
        """A ring of wooded hills, out of every LiDAR's reach."""
        rng, extent = self.rng, np.array(self.ground.extent_m)
        angle = np.linspace(0, 2 * np.pi, 181)
        waves = sum(rng.uniform(2, 9) * np.sin(k * angle + rng.uniform(0, 2 * np.pi)) for k in (3, 5, 9, 17))
        top = 16 + waves + rng.uniform(0, 4, len(angle))
        top[-1] = top[0]
        circle = np.stack([np.cos(angle), np.sin(angle)], 1) * (np.hypot(*extent) / 2 + HILLS_M) + extent / 2
        low, high = (np.concatenate([circle, z[:, None]], 1) for z in (np.full_like(top, -5.0), np.maximum(top, 3.0)))
        n = len(angle)
        quads = [t for i in range(n - 1) for t in ((i, i + n, i + 1), (i + 1, i + n, i + n + 1))]
        mesh = from_faces(np.concatenate([low, high]), quads, SurfaceClass.VEGETATION, Material.FOLIAGE)
        self.meshes.append(mesh)
        self.colours.append(appearance.COLOUR[mesh.material])

    def _houses(self, start: float, side: int, near: float, high_m: tuple[float, float], gap_m: float = 0.4) -> None:
        along = start
        while along < start + BLOCK_M - 6:
            length = float(min(self.rng.uniform(9, 20), start + BLOCK_M - along))
            depth = float(self.rng.uniform(8, 12))
            if length >= 6 and self._room(along, along + length, side, near, near + depth):
                mesh = props.building(self.rng, length, depth, float(self.rng.uniform(*high_m)))
                tint = HOUSE_TINTS[self.rng.integers(len(HOUSE_TINTS))] * self.rng.uniform(0.8, 1.1)
                self._put(
                    mesh, along + length / 2, side, near + depth / 2, 0.0 if side < 0 else np.pi, tint, Material.FACADE
                )
            along += length + gap_m

    def _enclosure(self, start: float, side: int, lateral: float, kind: str | None = None) -> None:
        kind = kind or self.rng.choice(['wall', 'fence', 'hedge', 'none'], p=[0.3, 0.35, 0.2, 0.15])
        if kind == 'none' or not self._room(start, start + BLOCK_M, side, lateral - 0.3, lateral + 0.3):
            return
        gate = self.rng.uniform(8, 16)
        for first, last in ((0.3, gate), (gate + 3.2, BLOCK_M - 0.3)):
            length = float(last - first)
            mesh = {
                'wall': lambda length=length: props.wall(length, float(self.rng.uniform(1.0, 2.2))),
                'fence': lambda length=length: props.fence(length),
                'hedge': lambda length=length: props.hedge(self.rng, length),
            }[kind]()
            self._put(mesh, start + (first + last) / 2, side, lateral, 0.0, np.ones(3), None)

    def _fence(self, start: float, side: int, lateral: float) -> None:
        if self._room(start, start + BLOCK_M, side, lateral - 0.3, lateral + 0.3):
            self._put(props.fence(BLOCK_M), start + BLOCK_M / 2, side, lateral, 0.0, np.ones(3), None)

    def _tree(self, along: float, side: int, lateral: float, scale: float) -> None:
        mesh = self.trees[self.rng.integers(len(self.trees))]
        size = scale * self.rng.uniform(0.75, 1.15)
        mesh = mesh.moved(yaw=self.rng.uniform(0, 2 * np.pi), scale=(size, size, size))
        tint = np.array([1.0, 1.0, 0.9]) * self.rng.uniform(0.7, 1.4) + self.rng.uniform(-0.15, 0.25) * np.array(
            [1, 0, 0]
        )
        self._stand(mesh, along, side, lateral, radius_m=0.35, tint=tint, tinted=Material.FOLIAGE)

    def _bush(self, along: float, side: int, lateral: float) -> None:
        mesh = self.bushes[self.rng.integers(len(self.bushes))].moved(yaw=self.rng.uniform(0, 2 * np.pi))
        self._stand(
            mesh, along, side, lateral, 0.6, tint=np.ones(3) * self.rng.uniform(0.7, 1.3), tinted=Material.FOLIAGE
        )

    def _stand(
        self,
        mesh: Mesh,
        along: float,
        side: int,
        lateral: float,
        radius_m: float,
        turn: float = 0.0,
        face_road: bool = False,
        tint: np.ndarray | None = None,
        tinted: Material | None = None,
    ) -> None:
        """Put a slim thing where it blocks neither street."""
        (xy,), _ = self.road.at(np.array([along]), side * lateral)
        if self._edge(xy)[0] < 0.35 or not self.layout.claim_disc(xy, radius_m):
            return
        if face_road:  # its arm, along x, reaches over the street
            turn = -side * np.pi / 2
        self._put(mesh, along, side, lateral, turn, np.ones(3) if tint is None else tint, tinted)

    def _put(
        self,
        mesh: Mesh,
        along: float,
        side: int,
        lateral: float,
        turn: float,
        tint: np.ndarray,
        tinted: Material | None,
    ) -> None:
        (xy,), (heading,) = self.road.at(np.array([along]), side * lateral)
        placed = mesh.moved((*xy, float(self.ground.height(xy)[0]) - 0.02), yaw=float(heading + turn))
        colour = appearance.COLOUR[mesh.material]
        if tinted is not None:
            colour = np.where((mesh.material == tinted)[:, None], colour * tint.astype(np.float32), colour)
        self.meshes.append(placed)
        self.colours.append(np.clip(colour, 0, 1).astype(np.float32))

    def _room(self, first: float, last: float, side: int, near: float, far: float) -> bool:
        """Whether a rectangle beside the street is clear of carriageways, sidewalks and what stands already."""
        along = np.linspace(first, last, 7)
        for lateral in (near, (near + far) / 2, far):
            xy, _ = self.road.at(along, side * lateral)
            if (self._edge(xy) < self.ground.sidewalk_m).any():
                return False
        middle = (near + far) / 2
        ends, _ = self.road.at(np.array([first, last]), side * middle)
        width = far - near
        inset = (ends[1] - ends[0]) / max(np.linalg.norm(ends[1] - ends[0]), 1e-6) * min(width, last - first) / 2 * 0.9
        return self.layout.claim_strip(np.stack([ends[0] + inset, ends[1] - inset]), width * 0.95)

    def _edge(self, xy: np.ndarray) -> np.ndarray:
        _, lateral, side_street, _ = self.ground.look_up(np.atleast_2d(xy))
        return self.ground.edge_distance(lateral, side_street)
