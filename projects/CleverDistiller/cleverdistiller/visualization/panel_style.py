"""What the panels of a sheet share: ground, ink, letters, and how points are coloured."""

from functools import cache

import matplotlib
import numpy as np
from matplotlib import font_manager
from PIL import ImageFont

from cleverdistiller.datasets.palette import OTHER, colour_of
from cleverdistiller.visualization.frame_view import FrameView

GROUND, PANEL, GRID = (18, 20, 24), (27, 30, 36), (58, 63, 72)
INK, FAINT_INK, WARNING = (236, 238, 242), (150, 156, 166), (255, 190, 0)


@cache
def letters(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The typeface that matplotlib brings, so that sheets look the same everywhere."""
    wanted = font_manager.FontProperties(family='DejaVu Sans', weight='bold' if bold else 'normal')
    return ImageFont.truetype(font_manager.findfont(wanted), size_px)


def class_colours(view: FrameView) -> np.ndarray:
    """(N, 3) uint8 colour of each labelled point's class."""
    table = np.array([*map(colour_of, view.class_names), OTHER], np.uint8)  # row -1 is for the unlabelled
    return table[view.labels]


def scale_colours(share: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 colour for values from 0 to 1; others take the ends' colours."""
    return (matplotlib.colormaps['turbo'](0.08 + 0.84 * np.clip(share, 0, 1))[..., :3] * 255).astype(np.uint8)


def height_range_m(view: FrameView) -> tuple[float, float]:
    """Heights that the ends of the colour scale stand for: stray points do not stretch it."""
    if not len(view.points_lidar_m):
        return 0.0, 1.0
    low, high = np.percentile(view.points_lidar_m[:, 2], (2, 98))
    return float(low), float(max(high, low + 1.0))


def paint_dots(canvas: np.ndarray, uv_px: np.ndarray, colours: np.ndarray, size_px: int) -> None:
    """Paint squares on a picture, later ones over earlier ones.

    Args:
        canvas (np.ndarray): (H, W, 3) uint8, changed in place.
        uv_px (np.ndarray): (N, 2) column and row of the middles; those outside are left out.
        colours (np.ndarray): (N, 3) uint8.
        size_px (int): Side of a square.
    """
    height, width = canvas.shape[:2]
    first = np.floor(uv_px - (size_px - 1) / 2).astype(np.int64)
    ids, reach = np.arange(len(first)), range(size_px)
    # Assignment by index arrays has no promised order where pixels repeat, so the top dot of each pixel is found first.
    top = np.full(height * width, -1)
    for row in reach:
        for column in reach:
            u, v = first[:, 0] + column, first[:, 1] + row
            inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
            np.maximum.at(top, v[inside] * width + u[inside], ids[inside])
    covered = top >= 0
    canvas.reshape(-1, 3)[covered] = colours[top[covered]]
