"""The frame from above, the car's front up."""

from functools import partial

import numpy as np
from PIL import Image, ImageDraw

from cleverdistiller.datasets.palette import colour_of
from cleverdistiller.visualization.box_corners import FLOOR, box_corners
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.panel_style import (
    FAINT_INK,
    GRID,
    INK,
    PANEL,
    class_colours,
    height_range_m,
    letters,
    paint_dots,
    scale_colours,
)

GRID_M = 10
CAR_LENGTH_M, CAR_WIDTH_M = 4.6, 1.9
_FINER = 2  # drawn so much larger, then shrunk, for smooth lines


def draw_bird_eye(
    view: FrameView,
    size_px: int,
    reach_m: float = 50.0,
    by_height: bool = True,
    middle_ahead_m: float = 0.0,
    point_colours: np.ndarray | None = None,
    dot_px: float = 1.5,
) -> Image.Image:
    """Draw grid, points, boxes with their heading, and the car.

    Points have their class's colour, without labels their height's.

    Args:
        view (FrameView): The frame.
        size_px (int): Side of the square panel.
        reach_m (float): Metres from the middle to each side.
        by_height (bool): Whether higher points lie on top; otherwise later ones.
        middle_ahead_m (float): How far ahead of the sensor the middle lies, for sets that look ahead only.
        point_colours (np.ndarray | None): (N, 3) uint8 instead of the classes' or heights' colours.
        dot_px (float): Side of a point.

    Returns:
        Image.Image: RGB.
    """
    side = size_px * _FINER
    panel = Image.new('RGB', (side, side), PANEL)
    _draw_grid(ImageDraw.Draw(panel), side, reach_m, middle_ahead_m)
    canvas = np.array(panel)
    heights_m = view.points_lidar_m[:, 2]
    order = np.argsort(heights_m, kind='stable') if by_height else np.arange(len(heights_m))
    place = partial(to_panel_px, size_px=side, reach_m=reach_m, middle_ahead_m=middle_ahead_m)
    uv_px = place(view.points_lidar_m[order, :2], view.ahead_yaw)
    colours = _point_colours(view) if point_colours is None else point_colours
    paint_dots(canvas, uv_px, colours[order], size_px=round(dot_px * _FINER))
    panel = Image.fromarray(canvas)
    pen = ImageDraw.Draw(panel)
    for box, name in zip(box_corners(view.boxes_lidar_m), view.box_names):
        floor = box[list(FLOOR), :2]
        middle, front = floor.mean(0), floor[:2].mean(0)
        ring = place(np.concatenate([floor, floor[:1]]), view.ahead_yaw)
        nose = place(np.stack([middle, front + 0.35 * (front - middle)]), view.ahead_yaw)
        for line in (ring, nose):  # a dark edge first: a box may lie on points of its own colour
            pen.line([*map(tuple, line)], fill=(0, 0, 0), width=4 * _FINER, joint='curve')
        for line in (ring, nose):
            pen.line([*map(tuple, line)], fill=colour_of(name), width=2 * _FINER, joint='curve')
    _draw_car(pen, side, reach_m, middle_ahead_m)
    panel = panel.resize((size_px, size_px), Image.BOX)
    _write_metres(ImageDraw.Draw(panel), size_px, reach_m, middle_ahead_m)
    return panel


def to_panel_px(
    xy_lidar_m: np.ndarray, ahead_yaw: float, size_px: int, reach_m: float, middle_ahead_m: float = 0.0
) -> np.ndarray:
    """Where points lie on the panel.

    Args:
        xy_lidar_m (np.ndarray): (K, 2) metres in the frame of the points.
        ahead_yaw (float): Of the car's front in that frame, radians.
        size_px (int): Side of the panel.
        reach_m (float): Metres from the middle to each side.
        middle_ahead_m (float): How far ahead of the sensor the middle lies.

    Returns:
        np.ndarray: (K, 2) float64 column and row; the car's front is up.
    """
    cos, sin = np.cos(ahead_yaw), np.sin(ahead_yaw)
    x, y = np.asarray(xy_lidar_m, float).T
    ahead_m, left_m = x * cos + y * sin, y * cos - x * sin
    return (np.stack([-left_m, middle_ahead_m - ahead_m], 1) / reach_m + 1) * (size_px / 2)


def _point_colours(view: FrameView) -> np.ndarray:
    if view.labels is not None:
        return class_colours(view)
    low, high = height_range_m(view)
    return scale_colours((view.points_lidar_m[:, 2] - low) / (high - low))


def _grid_lines_m(reach_m: float, middle_m: float = 0.0) -> np.ndarray:
    first, last = np.ceil((middle_m - reach_m) / GRID_M), np.floor((middle_m + reach_m) / GRID_M)
    return np.arange(int(first), int(last) + 1) * GRID_M


def _draw_grid(pen: ImageDraw.ImageDraw, side: int, reach_m: float, middle_ahead_m: float) -> None:
    for metres in _grid_lines_m(reach_m):
        at = (metres / reach_m + 1) * side / 2
        pen.line((at, 0, at, side), fill=GRID, width=_grid_width(metres))
    for metres in _grid_lines_m(reach_m, middle_ahead_m):
        at = ((middle_ahead_m - metres) / reach_m + 1) * side / 2
        pen.line((0, at, side, at), fill=GRID, width=_grid_width(metres))


def _grid_width(metres: int) -> int:
    return (2 if metres == 0 else 1) * _FINER


def _draw_car(pen: ImageDraw.ImageDraw, side: int, reach_m: float, middle_ahead_m: float) -> None:
    """The sensor's own car, a filled arrow-nosed outline."""
    length, half = CAR_LENGTH_M / 2, CAR_WIDTH_M / 2
    outline = np.array([[-length, half], [length * 0.45, half], [length, 0], [length * 0.45, -half], [-length, -half]])
    corners = [*map(tuple, to_panel_px(outline, 0.0, side, reach_m, middle_ahead_m))]
    pen.polygon(corners, fill=INK)
    pen.line([*corners, corners[0]], fill=(0, 0, 0), width=2 * _FINER, joint='curve')


def _write_metres(pen: ImageDraw.ImageDraw, size_px: int, reach_m: float, middle_ahead_m: float) -> None:
    style = dict(fill=FAINT_INK, font=letters(16), stroke_width=2, stroke_fill=PANEL)
    for metres in _grid_lines_m(reach_m):
        at = (metres / reach_m + 1) * size_px / 2
        if 40 < at < size_px - 40:
            pen.text((at, size_px - 6), f'{metres} m', anchor='md', **style)  # to the right
    for metres in _grid_lines_m(reach_m, middle_ahead_m):
        at = ((middle_ahead_m - metres) / reach_m + 1) * size_px / 2
        if 40 < at < size_px - 40:
            pen.text((6, at), f'{metres} m', anchor='lm', **style)  # ahead
