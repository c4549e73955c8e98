"""How many points a class has and how many boxes a type has."""

import numpy as np
from PIL import Image, ImageDraw

from cleverdistiller.datasets.palette import colour_of
from cleverdistiller.visualization.camera_panel import FAR_M
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.panel_style import (
    FAINT_INK,
    GRID,
    INK,
    PANEL,
    height_range_m,
    letters,
    scale_colours,
)

MARGIN_PX, NAMES_PX, COUNTS_PX = 30, 230, 110  # around, for the names, for the counts
ROW_PX, BAR_PX, HEADING_PX = 36, 20, 60
FEWEST = 0.5  # where the log scale starts, so that one point still has a bar


def draw_statistics(view: FrameView, size_wh: tuple[int, int], on_pictures: bool = False) -> Image.Image:
    """A horizontal bar for each class's points, then one for each type's boxes, on log scales with the counts.

    The bars' colours are the legend of the other panels. Without labels the panel says so and shows the scale that
    the points are coloured on instead.

    Args:
        view (FrameView): The frame.
        size_wh (tuple[int, int]): Columns and rows of the panel in pixels.
        on_pictures (bool): Whether the points are drawn on the pictures too.

    Returns:
        Image.Image: RGB.
    """
    panel = Image.new('RGB', size_wh, PANEL)
    pen = ImageDraw.Draw(panel)
    points, boxes = view.points_per_class(), view.boxes_per_type()
    top = MARGIN_PX
    # Headings and rows shrink together when a dataset has more classes than fit.
    wanted = (len(points) or 2) * ROW_PX + len(boxes) * ROW_PX + 4 * HEADING_PX
    squeeze = min(1.0, (size_wh[1] - 2 * MARGIN_PX) / wanted)
    if points:
        top = _draw_bars(pen, 'Points per class (log scale)', points, top, size_wh[0], squeeze)
    else:
        top = _draw_scales(panel, view, top, on_pictures)
    if boxes:
        _draw_bars(pen, 'Boxes per type (log scale)', boxes, top, size_wh[0], squeeze)
    else:
        pen.text((MARGIN_PX, top), 'No boxes', fill=INK, font=letters(22, bold=True))
    return panel


def bar_length_px(count: int, most: int, full_px: int) -> int:
    """Length of a bar on the log scale that ends at ``most`` after ``full_px`` pixels; 0 for none."""
    return round(full_px * np.log(count / FEWEST) / np.log(most / FEWEST)) if count else 0


def _draw_bars(
    pen: ImageDraw.ImageDraw, heading: str, counts: dict[str, int], top: int, width: int, squeeze: float
) -> int:
    """Returns the row below."""
    row_px, bar_px = int(ROW_PX * squeeze), int(BAR_PX * squeeze)
    text = letters(max(10, int(18 * squeeze)))
    pen.text((MARGIN_PX, top), heading, fill=INK, font=letters(22, bold=True))
    first, left = top + int(HEADING_PX * squeeze), MARGIN_PX + NAMES_PX
    full_px, last = width - left - COUNTS_PX - MARGIN_PX, first + len(counts) * row_px
    decades = max(1, int(np.ceil(np.log10(max(*counts.values(), 2)))))
    for decade in range(decades + 1):
        at = left + bar_length_px(10**decade, 10**decades, full_px)
        pen.line((at, first - 4, at, last), fill=GRID)
        pen.text((at, last + 2), f'{10**decade:,}', anchor='ma', fill=FAINT_INK, font=letters(14))
    for row, (name, count) in enumerate(counts.items()):
        middle = first + row * row_px + row_px // 2
        ink = INK if count else FAINT_INK
        pen.text((left - 12, middle), name, anchor='rm', fill=ink, font=text)
        length = bar_length_px(count, 10**decades, full_px)
        if length:
            pen.rectangle((left, middle - bar_px // 2, left + length, middle + bar_px // 2), fill=colour_of(name))
        pen.text((left + length + 10, middle), f'{count:,}', anchor='lm', fill=ink, font=text)
    return last + int(HEADING_PX * squeeze)


def _draw_scales(panel: Image.Image, view: FrameView, top: int, on_pictures: bool) -> int:
    """Say that there are no labels, and show what the points' colours mean instead. Returns the row below."""
    pen = ImageDraw.Draw(panel)
    pen.text((MARGIN_PX, top), 'No labels in this frame', fill=INK, font=letters(22, bold=True))
    low, high = height_range_m(view)
    top = _draw_scale(panel, "Points from above: height in the sensor's frame", (low, high), top + 40)
    if on_pictures:  # near is at the warm end there
        top = _draw_scale(panel, 'Points on the pictures: depth', (FAR_M, 0.0), top)
    return top + HEADING_PX // 3


def _draw_scale(panel: Image.Image, heading: str, ends_m: tuple[float, float], top: int) -> int:
    pen, full_px = ImageDraw.Draw(panel), panel.width - 2 * MARGIN_PX
    pen.text((MARGIN_PX, top), heading, fill=INK, font=letters(18))
    strip = np.broadcast_to(scale_colours(np.linspace(0, 1, full_px)), (BAR_PX, full_px, 3))
    panel.paste(Image.fromarray(np.ascontiguousarray(strip)), (MARGIN_PX, top + 32))
    under = top + 32 + BAR_PX + 6
    pen.text((MARGIN_PX, under), f'{ends_m[0]:.1f} m', fill=FAINT_INK, font=letters(16))
    pen.text((MARGIN_PX + full_px, under), f'{ends_m[1]:.1f} m', anchor='ra', fill=FAINT_INK, font=letters(16))
    return under + 40
