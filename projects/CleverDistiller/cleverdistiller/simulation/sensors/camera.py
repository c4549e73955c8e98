"""A camera in a scene: rays where they are needed, textured and lit.

Every second pixel of every second row is cast first. Between neighbours that show one smooth, evenly lit surface the
picture is interpolated; everywhere else each pixel gets its own ray. That halves the work.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from cleverdistiller.simulation.boxes import CORNERS, before_the_camera
from cleverdistiller.simulation.frame import CameraImage, ObjectState
from cleverdistiller.simulation.sensors.rigs import CameraModel
from cleverdistiller.simulation.sensors.shading import in_the_sun, objects_together, shade, sky
from cleverdistiller.simulation.sensors.trace import Visit, trace
from cleverdistiller.simulation.things.raycast import MeshIndex
from cleverdistiller.simulation.world.scene import Scene

SMOOTH_NORMAL = 0.995  # cosine between neighbours on one surface
SMOOTH_M = 0.03  # step between neighbours along the normal
SMOOTH_LIGHT = 0.08  # of the display's range
LOWER_GROUND_M = 3.0  # more than the ground ever falls beside an object


def expose(scene: Scene, camera: CameraModel, time_s: float) -> CameraImage:
    """Take a picture.

    Args:
        scene (Scene): The world.
        camera (CameraModel): The camera.
        time_s (float): When the shutter opens; exposure takes no time.

    Returns:
        CameraImage: The picture and what its pixels show.
    """
    rng = np.random.default_rng([scene.seed, scene.index, 2, 10**9 + round(time_s * 1e6)])
    view = _View(scene, camera, time_s)
    rows, cols = camera.size_hw
    v, u = np.arange(0, rows, 2), np.arange(0, cols, 2)
    grid_hw = len(v), len(u)
    grid = _look(view, (v[:, None] * cols + u).ravel(), grid_hw)
    picture = _interpolated(grid, grid_hw, camera.size_hw)
    rough = np.flatnonzero(_is_rough(grid, grid_hw, camera.size_hw))
    sunlit = cv2.resize(grid.sunlit.reshape(grid_hw), (cols, rows), interpolation=cv2.INTER_LINEAR).ravel()
    picture.put(rough, _look(view, rough, None, sunlit[rough]))

    visible = Counter(dict(zip(*map(np.ndarray.tolist, np.unique(picture.instance, return_counts=True)))))
    del visible[0]
    whole = {name: 4 * grid.alone.get(name, 0) for name in visible.keys() | grid.alone.keys()}  # a grid's pixel is four
    return CameraImage(
        time_s=time_s,
        ego2world=view.ego2world,
        rgb=_develop(rng, picture.light.reshape(rows, cols, 3)),
        depth_m=picture.depth.reshape(rows, cols),
        surface=picture.surface.reshape(rows, cols),
        instance=picture.instance.reshape(rows, cols),
        visible_px={
            name: (visible[name], max(visible[name], whole[name]))
            for name in sorted(whole)
            if visible[name] or whole[name]
        },
    )


class _View:
    """What all rays of one exposure share."""

    def __init__(self, scene: Scene, camera: CameraModel, time_s: float) -> None:
        self.scene, self.camera = scene, camera
        self.ego2world = scene.ego2world(np.array([time_s]))[0]
        self.cam2world = self.ego2world @ camera.cam2ego
        states = scene.objects_at(time_s)
        self.windows = _windows(camera, self.cam2world, states)
        casters = _casting_into_view(camera, self.cam2world, states, scene.sun)
        self.shadows: MeshIndex | None = objects_together(scene, casters, self.cam2world[:3, 3])


def _casting_into_view(
    camera: CameraModel, cam2world: np.ndarray, states: list[ObjectState], sun: np.ndarray
) -> list[ObjectState]:
    """Leave out objects so far to the left or right of the view that their shadows end before it."""
    u = np.array([-0.5, camera.size_hw[1] - 0.5])  # the borders of the picture
    x = (u - camera.cam2img[0, 2]) / camera.cam2img[0, 0]
    outwards_cam = np.array([[-1, 0, x[0]], [1, 0, -x[1]]]) / np.sqrt(1 + x * x)[:, None]
    outwards = outwards_cam @ cam2world[:3, :3].T  # (2, 3) normals of the planes through the eye and a border
    kept = []
    for state in states:
        outside_m = (outwards @ (state.centre_world_m - cam2world[:3, 3])).max()
        shadow_m = (state.size_lwh_m[2] + LOWER_GROUND_M) / sun[2]
        if outside_m < np.linalg.norm(state.size_lwh_m) / 2 + shadow_m:
            kept.append(state)
    return kept


@dataclass
class _Pixels:
    """N pixels: linear light (N, 3), depth, surface, material, instance, normal (N, 3), place (N, 3), sun's share."""

    light: np.ndarray
    depth: np.ndarray
    surface: np.ndarray
    material: np.ndarray
    instance: np.ndarray
    normal: np.ndarray
    point: np.ndarray
    sunlit: np.ndarray
    alone: dict[int, int]


@dataclass
class _Picture:
    """All H * W pixels, row by row: linear light (N, 3), depth, surface, instance."""

    light: np.ndarray
    depth: np.ndarray
    surface: np.ndarray
    instance: np.ndarray

    def put(self, rows: np.ndarray, others: _Pixels) -> None:
        """Replace what it shows at ``rows``."""
        for name, values in vars(self).items():
            values[rows] = getattr(others, name)


def _look(
    view: _View, pixels: np.ndarray, grid_hw: tuple[int, int] | None, sunlit: np.ndarray | None = None
) -> _Pixels:
    """Cast a ray through each of the pixels (N,), numbered row by row, ascending.

    Shadows are cast for a grid of pixels and softened; for scattered ones they are given.
    """
    scene, camera, count = view.scene, view.camera, len(pixels)
    rays_cam = _rays(camera.size_hw, camera.cam2img.tobytes())[pixels]
    directions = rays_cam @ view.cam2world[:3, :3].T.astype(np.float32)  # camera z is 1: distance is depth
    origins = np.broadcast_to(view.cam2world[:3, 3].astype(np.float32), directions.shape)
    hits = trace(scene, origins, directions, _visits(view, pixels))
    if grid_hw:
        sunlit = np.ones(count, np.float32)
        sunlit[hits.rows] = in_the_sun(scene, hits, view.shadows)
        sunlit = cv2.GaussianBlur(sunlit.reshape(grid_hw), (0, 0), 0.8).ravel()
    seen = _Pixels(
        light=np.empty((count, 3), np.float32),
        depth=np.full(count, np.inf, np.float32),
        surface=np.zeros(count, np.uint8),
        material=np.zeros(count, np.uint8),
        instance=np.zeros(count, np.uint16),
        normal=np.zeros((count, 3), np.float32),
        point=np.zeros((count, 3), np.float32),
        sunlit=sunlit,
        alone=hits.alone,
    )
    missed = np.ones(count, bool)
    missed[hits.rows] = False
    seen.light[missed] = sky(scene, directions[missed])
    seen.light[hits.rows] = shade(scene, hits, directions, sunlit[hits.rows])
    for name, values in (
        ('depth', hits.distance),
        ('surface', hits.surface),
        ('material', hits.material),
        ('instance', hits.instance),
        ('normal', hits.normal_world),
        ('point', hits.point_world_m),
    ):
        getattr(seen, name)[hits.rows] = values
    return seen


def _interpolated(grid: _Pixels, grid_hw: tuple[int, int], size_hw: tuple[int, int]) -> _Picture:
    """A whole picture from a grid: light and inverse depth between neighbours, labels from the one up and left."""
    rows, cols = size_hw

    def between(values: np.ndarray) -> np.ndarray:
        values = values.reshape(*grid_hw, -1)
        full = np.empty((2 * grid_hw[0], 2 * grid_hw[1], values.shape[-1]), values.dtype)
        full[::2, ::2] = values
        full[::2, 1:-1:2] = (values[:, :-1] + values[:, 1:]) / 2
        full[::2, -1] = values[:, -1]
        full[1:-1:2] = (full[:-2:2] + full[2::2]) / 2
        full[-1] = full[-2]
        return full[:rows, :cols].reshape(rows * cols, -1)

    def repeated(values: np.ndarray) -> np.ndarray:
        return values.reshape(grid_hw).repeat(2, 0).repeat(2, 1)[:rows, :cols].ravel()

    with np.errstate(divide='ignore'):
        depth = 1 / between(1 / grid.depth)[:, 0]  # exact on a plane; the sky's inverse is 0
    return _Picture(between(grid.light), depth, repeated(grid.surface), repeated(grid.instance))


def _is_rough(grid: _Pixels, grid_hw: tuple[int, int], size_hw: tuple[int, int]) -> np.ndarray:
    """(H * W,) bool: pixels between grid pixels that do not show one smooth surface, and those beside them."""
    shape = lambda values: values.reshape(*grid_hw, *values.shape[1:])
    label = shape(grid.instance.astype(np.int32) << 16 | grid.surface.astype(np.int32) << 8 | grid.material)
    light, normal, point = np.sqrt(shape(grid.light)), shape(grid.normal), shape(grid.point)

    def alike(one: tuple, two: tuple) -> np.ndarray:
        same = label[one] == label[two]
        same &= (np.einsum('ijk,ijk->ij', normal[one], normal[two]) > SMOOTH_NORMAL) | (label[one] == 0)
        same &= np.abs(np.einsum('ijk,ijk->ij', normal[one], point[two] - point[one])) < SMOOTH_M
        return same & (np.abs(light[one] - light[two]).max(-1) < SMOOTH_LIGHT)

    every = slice(None)
    across = alike((every, slice(None, -1)), (every, slice(1, None)))
    down = alike((slice(None, -1),), (slice(1, None),))
    smooth = np.zeros((2 * grid_hw[0], 2 * grid_hw[1]), bool)
    smooth[::2, ::2] = True
    smooth[::2, 1:-1:2] = across
    smooth[1:-1:2, ::2] = down
    smooth[1:-1:2, 1:-1:2] = across[:-1] & across[1:] & down[:, :-1] & down[:, 1:]
    # One further: a line as thin as a pixel may pass between the grid's pixels just there.
    rough = cv2.dilate((~smooth).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    rough[::2, ::2] = False
    return rough[: size_hw[0], : size_hw[1]].ravel()


@lru_cache(maxsize=8)
def _rays(size_hw: tuple[int, int], cam2img: bytes) -> np.ndarray:
    """(H*W, 3) float32 through the middle of each pixel, whose coordinates are whole numbers."""
    u, v = np.meshgrid(np.arange(size_hw[1]), np.arange(size_hw[0]))
    pixels = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3)
    return (pixels @ np.linalg.inv(np.frombuffer(cam2img).reshape(3, 3)).T).astype(np.float32)


def _windows(
    camera: CameraModel, cam2world: np.ndarray, states: list[ObjectState]
) -> list[tuple[ObjectState, np.ndarray, np.ndarray]]:
    """Objects in view, each with the first and the last (column, row) + 1 of the pixels that its box covers."""
    rows, cols = camera.size_hw
    world2cam = np.linalg.inv(cam2world)
    windows = []
    for state in states:
        pose = state.object2world
        corners = (CORNERS * state.size_lwh_m) @ pose[:3, :3].T + pose[:3, 3]
        corners = corners @ world2cam[:3, :3].T + world2cam[:3, 3]
        seen = before_the_camera(corners)
        if not len(seen):
            continue
        uv = seen @ camera.cam2img.T
        uv = uv[:, :2] / uv[:, 2:]
        low = np.clip(np.floor(uv.min(0)), 0, (cols, rows)).astype(int)
        high = np.clip(np.ceil(uv.max(0)) + 1, 0, (cols, rows)).astype(int)
        if (high > low).all():
            windows.append((state, low, high))
    return windows


def _visits(view: _View, pixels: np.ndarray) -> list[Visit]:
    """For each object the rays whose pixels lie in its window."""
    cols = view.camera.size_hw[1]
    column, visits = pixels % cols, []
    for state, low, high in view.windows:
        first, last = np.searchsorted(pixels, (low[1] * cols, high[1] * cols))
        patch = first + np.flatnonzero((column[first:last] >= low[0]) & (column[first:last] < high[0]))
        if len(patch):
            index, colour = view.scene.shape(state.instance)
            rotation = state.object2world[:3, :3]
            visits.append(Visit(state.instance, index, colour, patch, rotation, view.scene.origin_of(state)))
    return visits


def _develop(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: lens blur, exposure, response curve and noise of the sensor."""
    light = cv2.GaussianBlur(light, (3, 3), 0.55)
    light = np.sqrt(np.clip(light * 0.95, 0, None))
    light = light / (1 + 0.12 * light) * 1.1
    rows, cols = light.shape[:2]
    tile = _noise_tile()
    r, c = rng.integers(0, 256, 2)
    noise = np.tile(tile, (rows // 256 + 2, cols // 256 + 2, 1))[r : r + rows, c : c + cols]
    return np.clip(light * 255 + noise, 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _noise_tile() -> np.ndarray:
    """(256, 256, 3) float32, drawn once: fresh noise for each pixel costs more than its ray."""
    return np.random.default_rng(0).normal(0, 2.5, (256, 256, 3)).astype(np.float32)
