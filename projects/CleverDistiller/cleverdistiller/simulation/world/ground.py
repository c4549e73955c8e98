"""The ground: what lies where, how high, and in which colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from cleverdistiller.simulation.surfaces import Material, SurfaceClass
from cleverdistiller.simulation.things.mesh import Mesh, from_faces
from cleverdistiller.simulation.world.road import LANE_M, SIDE_STREET_HALF_M, STEP_M, Road

CELL_M = 0.5
COARSE = 8  # cells in a row of a block that is drawn as one if it is plane ...
FLAT_M = 0.006  # ... to this height
MARGIN_M = 105.0  # beyond the centreline: farther than any LiDAR sees
KERB_M = 0.13
CORNER_RADIUS_M = 5.0
USED_M = 27.0  # behind the sidewalk; farther back all is green
BLOCK_M = 26.0  # the land beside the road changes its use at most this often

# Use of the land behind the sidewalk -> its surface and material.
LAND = {
    'houses': (SurfaceClass.OTHER_FLAT, Material.COBBLE),
    'gardens': (SurfaceClass.TERRAIN, Material.GRASS),
    'park': (SurfaceClass.TERRAIN, Material.GRASS),
    'car park': (SurfaceClass.PARKING, Material.ASPHALT),
    'plaza': (SurfaceClass.OTHER_FLAT, Material.PAVING),
    'works': (SurfaceClass.TERRAIN, Material.WOOD),  # bare earth
}
LAND_NAMES = tuple(LAND)


@dataclass(frozen=True)
class Ground:
    """A height field on a grid, and exact rules for what lies on it.

    Args:
        road (Road): In world coordinates.
        sidewalk_m (float): Width of the sidewalks.
        land (np.ndarray): (2, K) int, use of each block on the left and right, rows of ``LAND_NAMES``.
        table (torch.Tensor): (4, rows, cols) float32 on the grid: along, lateral, signed distance to the nearest side
            street's axis, height. Row r lies at y = r * ``CELL_M``, column c at x = c * ``CELL_M``.
    """

    road: Road
    sidewalk_m: float
    land: np.ndarray
    table: torch.Tensor

    @property
    def extent_m(self) -> tuple[float, float]:
        """Size along x and y."""
        rows, cols = self.table.shape[1:]
        return (cols - 1) * CELL_M, (rows - 1) * CELL_M

    def look_up(self, xy_world_m: np.ndarray) -> np.ndarray:
        """Interpolate the table.

        Args:
            xy_world_m (np.ndarray): (N, 2).

        Returns:
            np.ndarray: (4, N) float32; beyond the grid, its border.
        """
        scale = 2 / np.array(self.extent_m)
        grid = torch.from_numpy((xy_world_m * scale - 1).astype(np.float32))[None, None]
        return torch.nn.functional.grid_sample(
            self.table[None], grid, mode='bilinear', padding_mode='border', align_corners=True
        )[0, :, 0].numpy()

    def height(self, xy_world_m: np.ndarray) -> np.ndarray:
        """(N,) metres at (N, 2)."""
        return self.look_up(np.atleast_2d(xy_world_m))[3]

    def edge_distance(self, lateral_m: np.ndarray, side_street_m: np.ndarray) -> np.ndarray:
        """Signed distance to the kerb: negative on the carriageway of either street, corners rounded."""
        left, right = self.road.half_widths_m
        main = np.maximum(lateral_m - left, -lateral_m - right)
        side = np.abs(side_street_m) - SIDE_STREET_HALF_M
        r = CORNER_RADIUS_M
        rounded = r - np.hypot(np.maximum(r - main, 0), np.maximum(r - side, 0))
        return np.where((main > 0) & (side > 0), np.minimum(rounded, np.minimum(main, side)), np.minimum(main, side))

    def block(self, along_m: np.ndarray, lateral_m: np.ndarray) -> np.ndarray:
        """Use of the land, rows of ``LAND_NAMES``."""
        column = np.clip((along_m / BLOCK_M).astype(int), 0, self.land.shape[1] - 1)
        return self.land[(lateral_m < 0).astype(int), column]

    def use(self, side: int, block: int) -> str:
        """Use of one block of land, a key of ``LAND``; side 1 is the left, -1 the right."""
        return LAND_NAMES[self.land[0 if side > 0 else 1, block]]

    def surface(self, xy_world_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Say what lies at places on the ground.

        Args:
            xy_world_m (np.ndarray): (N, 2).

        Returns:
            tuple[np.ndarray, np.ndarray]: (N,) uint8 :class:`SurfaceClass` and (N,) uint8 :class:`Material`.
        """
        along, lateral, side_street, _ = self.look_up(xy_world_m)
        edge = self.edge_distance(lateral, side_street)
        surface = np.full(len(edge), SurfaceClass.ROAD, np.uint8)
        material = np.full(len(edge), Material.ASPHALT, np.uint8)

        painted = np.flatnonzero((edge < -0.05) & (lateral < 40) & (lateral > -40))
        on = painted[self._is_painted(along[painted], lateral[painted], side_street[painted])]
        surface[on], material[on] = SurfaceClass.LANE_MARKING, Material.ROAD_PAINT

        kerb = (edge >= 0) & (edge < 0.3)
        surface[kerb], material[kerb] = SurfaceClass.CURB, Material.CONCRETE
        walk = (edge >= 0.3) & (edge < self.sidewalk_m)
        surface[walk], material[walk] = SurfaceClass.SIDEWALK, Material.PAVING
        beyond = np.flatnonzero(edge >= self.sidewalk_m)
        use = self.block(along[beyond], lateral[beyond])
        use = np.where(edge[beyond] < self.sidewalk_m + USED_M, use, LAND_NAMES.index('gardens'))
        surface[beyond] = np.array([LAND[name][0] for name in LAND_NAMES], np.uint8)[use]
        material[beyond] = np.array([LAND[name][1] for name in LAND_NAMES], np.uint8)[use]
        bays = beyond[self._is_bay_line(along[beyond], lateral[beyond], use)]
        surface[bays], material[bays] = SurfaceClass.LANE_MARKING, Material.ROAD_PAINT
        return surface, material

    def _is_painted(self, along_m: np.ndarray, lateral_m: np.ndarray, side_street_m: np.ndarray) -> np.ndarray:
        """Lane lines, stop lines and zebra crossings on the carriageway."""
        left, right = self.road.half_widths_m
        from_junction = np.abs(side_street_m) - SIDE_STREET_HALF_M
        on_main = (lateral_m < left) & (lateral_m > -right)
        free = on_main & (from_junction > 7.5)
        near = np.minimum.reduce([np.abs(along_m - s) for s in self.road.crossings_m], initial=np.inf)
        zebra = ((from_junction > 2.5) & (from_junction < 5.5) | (near < 1.6)) & on_main
        free &= near > 2.5
        paint = zebra & (np.mod(lateral_m, 1.0) < 0.5)
        paint |= free & (np.abs(np.abs(lateral_m) - 0.12) < 0.06)  # a double line in the middle
        dashed = np.mod(along_m, 9.0) < 3.0
        for lane in range(1, self.road.lanes):
            paint |= free & dashed & (np.abs(np.abs(lateral_m) - lane * LANE_M) < 0.07)
        paint |= free & (np.abs(np.abs(lateral_m) - self.road.lanes * LANE_M) < 0.06)
        coming = (lateral_m * np.sign(side_street_m) > 0.2) & (np.abs(lateral_m) < self.road.lanes * LANE_M)
        paint |= on_main & coming & (from_junction > 6.2) & (from_junction < 6.6)
        paint |= ~on_main & (np.abs(side_street_m) < 0.07) & (np.mod(lateral_m, 6.0) < 3.0)
        return paint

    def _is_bay_line(self, along_m: np.ndarray, lateral_m: np.ndarray, use: np.ndarray) -> np.ndarray:
        """Lines between the bays of a car park."""
        depth = np.abs(lateral_m) - max(self.road.half_widths_m) - self.sidewalk_m
        in_row = ((depth > 1.0) & (depth < 6.0)) | ((depth > 12.0) & (depth < 17.0))
        return (use == LAND_NAMES.index('car park')) & in_row & (np.mod(along_m, 2.6) < 0.1)

    def mesh(self) -> Mesh:
        """The height field, and a plane below it that reaches to the horizon.

        Where the ground is nearly plane, blocks of ``COARSE`` cells become two triangles: rays are a quarter cheaper.
        """
        rows, cols = self.table.shape[1:]
        x, y = np.meshgrid(np.arange(cols) * CELL_M, np.arange(rows) * CELL_M)
        vertices = np.stack([x, y, self.table[3].numpy()], -1).reshape(-1, 3)
        index = np.arange(rows * cols).reshape(rows, cols)
        plane = _is_plane(self.table[3].numpy())
        fine = np.ones((rows - 1, cols - 1), bool)
        covered = np.kron(plane, np.ones((COARSE, COARSE), bool))
        fine[: covered.shape[0], : covered.shape[1]] &= ~covered
        coarse = index[::COARSE, ::COARSE][: plane.shape[0] + 1, : plane.shape[1] + 1]
        near = from_faces(
            vertices,
            np.concatenate([_two_triangles(index, fine), _two_triangles(coarse, plane)]),
            SurfaceClass.ROAD,
            Material.ASPHALT,
        )
        far = 4000.0
        low = float(vertices[:, 2].min()) - 0.5
        corners = [(-far, -far, low), (far, -far, low), (far, far, low), (-far, far, low)]
        return Mesh.join([near, from_faces(corners, [(0, 1, 2), (0, 2, 3)], SurfaceClass.TERRAIN, Material.GRASS)])


def _is_plane(height_m: np.ndarray) -> np.ndarray:
    """(rows // COARSE, cols // COARSE) bool: whether a block of cells is as flat as its corners say, to ``FLAT_M``."""
    down, right = ((size - 1) // COARSE for size in height_m.shape)
    share = np.arange(COARSE + 1) / COARSE
    corner = height_m[: down * COARSE + 1 : COARSE, : right * COARSE + 1 : COARSE]
    plane = np.ones((down, right), bool)
    for i, v in enumerate(share):
        left = corner[:-1] * (1 - v) + corner[1:] * v  # (down, right + 1)
        for j, u in enumerate(share):
            expected = left[:, :-1] * (1 - u) + left[:, 1:] * u
            found = height_m[i : i + down * COARSE : COARSE, j : j + right * COARSE : COARSE]
            plane &= np.abs(found - expected) < FLAT_M
    return plane


def _two_triangles(index: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(2 * cells, 3) vertices of the wanted cells of a grid of vertices."""
    a, b, c, d = (part[wanted] for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def make_ground(rng: np.random.Generator, road: Road, land: np.ndarray) -> tuple[Ground, Road]:
    """Lay out the grid around a road, moved so that all of it has positive coordinates.

    Args:
        rng (np.random.Generator): Source of chance.
        road (Road): Anywhere.
        land (np.ndarray): (2, K) use of the blocks.

    Returns:
        tuple[Ground, Road]: The ground, and the road where it now lies.
    """
    low = road.xy_world_m.min(0) - MARGIN_M
    road = Road(road.xy_world_m - low, road.heading, road.lanes, road.parking, road.crossings_m, road.side_streets_m)
    cols, rows = (np.ceil((road.xy_world_m.max(0) + MARGIN_M) / CELL_M).astype(int) + 1).tolist()
    x, y = np.meshgrid(np.arange(cols) * CELL_M, np.arange(rows) * CELL_M)
    xy = np.stack([x, y], -1).reshape(-1, 2)
    _, nearest = cKDTree(road.xy_world_m).query(xy)
    offset = xy - road.xy_world_m[nearest]
    ahead = np.stack([np.cos(road.heading), np.sin(road.heading)], 1)[nearest]
    along = nearest * STEP_M + (offset * ahead).sum(1)
    lateral = ahead[:, 0] * offset[:, 1] - ahead[:, 1] * offset[:, 0]
    side_street = np.full(len(xy), 1e3)
    for s in road.side_streets_m:
        (origin,), (heading,) = road.at(np.array([s]))
        distance = (xy - origin) @ np.array([np.cos(heading), np.sin(heading)])
        # Only near its own crossing: elsewhere on a winding street the axis may come by again.
        distance = np.where(np.abs(along - s) < 60, distance, 1e3)
        side_street = np.where(np.abs(distance) < np.abs(side_street), distance, side_street)
    sidewalk_m = float(rng.uniform(2.4, 3.6))
    waves = [(rng.uniform(90, 200), rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)) for _ in range(3)]
    height = sum(
        0.12 * np.sin(2 * np.pi / length * (xy[:, 0] * np.cos(turn) + xy[:, 1] * np.sin(turn)) + phase)
        for length, turn, phase in waves
    )
    flat = torch.from_numpy(np.stack([along, lateral, side_street, height]).astype(np.float32)).reshape(4, rows, cols)
    ground = Ground(road, sidewalk_m, land, flat)
    edge = ground.edge_distance(lateral, side_street)
    rise = np.clip((edge + 0.1) / 1.2, 0, 1)  # steeper than the grid can show would look jagged
    height = height + KERB_M * rise * rise * (3 - 2 * rise)
    rough = np.clip((edge - sidewalk_m - 2) / 6, 0, 1) * (ground.block(along, lateral) == LAND_NAMES.index('park'))
    bumps = rng.normal(size=(rows // 8 + 2, cols // 8 + 2)).astype(np.float32)
    bumps = torch.nn.functional.interpolate(
        torch.from_numpy(bumps)[None, None], (rows, cols), mode='bicubic', align_corners=True
    )
    height = height + 0.35 * rough * bumps[0, 0].numpy().ravel()
    flat[3] = torch.from_numpy(height.astype(np.float32)).reshape(rows, cols)
    return ground, road
