"""A whole frame on one sheet: cameras, bird's-eye view, statistics."""

from PIL import Image, ImageDraw

from cleverdistiller.visualization.bird_eye_panel import draw_bird_eye
from cleverdistiller.visualization.camera_panel import draw_camera
from cleverdistiller.visualization.camera_view import CameraView
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.panel_style import FAINT_INK, GROUND, INK, WARNING, letters
from cleverdistiller.visualization.statistics_panel import draw_statistics

WIDTH_PX, GAP_PX = 2400, 10
TITLE_PX, BANNER_PX, BIRD_EYE_PX = 100, 64, 1300
MOST_ENLARGED = 1.5  # a small picture alone in its row does not fill it
BANNER = 'SIMULATED   made by tools/simulate.py: says nothing about real roads'


def draw_frame(view: FrameView, points: bool = False, reach_m: float = 50.0) -> Image.Image:
    """Draw the title, the cameras row by row, then the bird's-eye view beside the statistics.

    Args:
        view (FrameView): The frame.
        points (bool): Whether to draw the points on the pictures too.
        reach_m (float): Metres from the middle of the bird's-eye view to its sides.

    Returns:
        Image.Image: RGB, ``WIDTH_PX`` wide.
    """
    rows = [(row, row_sizes_wh(row)) for row in view.camera_rows]
    top = TITLE_PX + (BANNER_PX if view.simulated else 0)
    height = top + sum(max(h for _, h in sizes) + GAP_PX for _, sizes in rows) + BIRD_EYE_PX + GAP_PX
    sheet = Image.new('RGB', (WIDTH_PX, height), GROUND)
    _write_title(sheet, view)
    for row, sizes in rows:
        left = (WIDTH_PX - sum(w for w, _ in sizes) - GAP_PX * (len(sizes) - 1)) // 2
        for camera, size_wh in zip(row, sizes):
            sheet.paste(draw_camera(camera, view, size_wh, points), (left, top))
            left += size_wh[0] + GAP_PX
        top += max(h for _, h in sizes) + GAP_PX
    sheet.paste(draw_bird_eye(view, BIRD_EYE_PX, reach_m), (GAP_PX, top))
    left = BIRD_EYE_PX + 2 * GAP_PX
    sheet.paste(draw_statistics(view, (WIDTH_PX - left - GAP_PX, BIRD_EYE_PX), points), (left, top))
    return sheet


def row_sizes_wh(row: tuple[CameraView, ...]) -> list[tuple[int, int]]:
    """Columns and rows in pixels of each picture of a row: of one height, together as wide as the sheet allows."""
    shapes = [camera.rgb.shape[:2] for camera in row]
    room = WIDTH_PX - GAP_PX * (len(row) + 1)
    height = min(room / sum(w / h for h, w in shapes), MOST_ENLARGED * min(h for h, _ in shapes))
    return [(int(height * w / h), int(height)) for h, w in shapes]


def draw_banner(
    pen: ImageDraw.ImageDraw, width_px: int = WIDTH_PX, text: str | None = None, letters_px: int = 34
) -> None:
    """Say across the top of a sheet, ``BANNER_PX`` high, that its data are simulated.

    Args:
        pen (ImageDraw.ImageDraw): Of the sheet.
        width_px (int): Of the sheet.
        text (str | None): Instead of ``BANNER``.
        letters_px (int): Size of the letters.
    """
    pen.rectangle((0, 0, width_px, BANNER_PX - 1), fill=WARNING)
    told = BANNER if text is None else text
    pen.text((width_px / 2, BANNER_PX / 2), told, anchor='mm', fill='black', font=letters(letters_px, bold=True))


def _write_title(sheet: Image.Image, view: FrameView) -> None:
    pen, top = ImageDraw.Draw(sheet), 0
    if view.simulated:
        draw_banner(pen)
        top = BANNER_PX
    labelled = 'no labels' if view.labels is None else f'{(view.labels >= 0).sum():,} with a class'
    told = f'{len(view.points_lidar_m):,} points, {labelled}; {len(view.box_names)} boxes'
    pen.text((2 * GAP_PX, top + 12), view.title, fill=INK, font=letters(32, bold=True))
    pen.text((2 * GAP_PX, top + 58), told, fill=FAINT_INK, font=letters(24))
