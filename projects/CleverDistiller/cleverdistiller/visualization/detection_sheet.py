"""Detections against ground truth, from above and in the camera's picture, a row for each frame."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from cleverdistiller.datasets.palette import colour_of
from cleverdistiller.visualization.bird_eye_panel import draw_bird_eye, to_panel_px
from cleverdistiller.visualization.camera_panel import NEAREST_M, draw_camera
from cleverdistiller.visualization.camera_view import CameraView
from cleverdistiller.visualization.detection_frame import FALSE, FOUND, KINDS, LEAST_IOU, MISSED, DetectedFrame
from cleverdistiller.visualization.frame_sheet import BANNER_PX, GAP_PX, WIDTH_PX, draw_banner
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.panel_style import FAINT_INK, GRID, GROUND, INK, letters

BIRD_EYE_PX, TITLE_PX, TABLE_ROW_PX, NAMES_PX, COLUMN_PX = 1100, 52, 44, 320, 200
SIDE_PX = WIDTH_PX - BIRD_EYE_PX - 3 * GAP_PX
BEHIND_M = 5.0  # shown behind the car in sets that look ahead only
MEANINGS = dict(
    found='object that a detection hit',
    missed='object that no detection hit',
    false='detection that hit no object',
    hit='detection that overlaps a free object of its class enough; the surest detection chooses first',
)


def draw_detections(frames: Sequence[DetectedFrame], reach_m: float = 40.0) -> Image.Image:
    """Draw each frame's boxes from above, in its first picture if it has one, and their number in a table.

    Args:
        frames (Sequence[DetectedFrame]): At least one.
        reach_m (float): Metres from the middle of the view from above to its sides. A set without points behind the
            car is shown ahead of it.

    Returns:
        Image.Image: RGB.
    """
    simulated = any(frame.view.simulated for frame in frames)
    top = BANNER_PX if simulated else 0
    sheet = Image.new('RGB', (WIDTH_PX, top + len(frames) * (TITLE_PX + BIRD_EYE_PX + GAP_PX)), GROUND)
    pen = ImageDraw.Draw(sheet)
    if simulated:
        draw_banner(pen)
    for frame in frames:
        pen.text((2 * GAP_PX, top + TITLE_PX / 2), frame.view.title, anchor='lm', fill=INK, font=letters(26, bold=True))
        top += TITLE_PX
        view, captions = frame.judged()
        sheet.paste(_from_above(view, captions, reach_m), (GAP_PX, top))
        left, below = BIRD_EYE_PX + 2 * GAP_PX, top
        for camera in [row[0] for row in view.camera_rows][:1]:
            picture = _through(camera, view, captions)
            sheet.paste(picture, (left, top))
            below += picture.height
        _write_table(pen, frame, left + 2 * GAP_PX, below + 3 * GAP_PX)
        top += BIRD_EYE_PX + GAP_PX
    return sheet


def _from_above(view: FrameView, captions: Sequence[str], reach_m: float) -> Image.Image:
    ahead_m = view.points_lidar_m[:, :2] @ (np.cos(view.ahead_yaw), np.sin(view.ahead_yaw))
    looks_ahead = len(ahead_m) > 0 and ahead_m.min() > -BEHIND_M
    middle_ahead_m = reach_m - BEHIND_M if looks_ahead else 0.0
    panel = draw_bird_eye(view, BIRD_EYE_PX, reach_m, middle_ahead_m=middle_ahead_m)
    middles = to_panel_px(view.boxes_lidar_m[:, :2], view.ahead_yaw, BIRD_EYE_PX, reach_m, middle_ahead_m)
    radii = np.linalg.norm(view.boxes_lidar_m[:, 3:5], axis=1) / 2 * BIRD_EYE_PX / (2 * reach_m)
    _write_captions(panel, view, captions, middles + np.stack([0.7 * radii + 4, 0 * radii], 1), 'lm')
    return panel


def _through(camera: CameraView, view: FrameView, captions: Sequence[str]) -> Image.Image:
    height, width = camera.rgb.shape[:2]
    scale = min(SIDE_PX / width, 0.6 * BIRD_EYE_PX / height)
    size_wh = (round(width * scale), round(height * scale))
    panel = draw_camera(camera, view, size_wh)
    tops = view.boxes_lidar_m[:, :3] + np.array([0, 0, 0.5]) * view.boxes_lidar_m[:, 5:6]
    tops_cam = tops @ camera.lidar2cam[:3, :3].T + camera.lidar2cam[:3, 3]
    seen = tops_cam[:, 2] > NEAREST_M
    homogeneous = np.where(seen[:, None], tops_cam, [0, 0, 1]) @ camera.cam2img.T
    shown = ['' if not there else caption for there, caption in zip(seen, captions)]
    _write_captions(panel, view, shown, scale * homogeneous[:, :2] / homogeneous[:, 2:], 'md')
    return panel


def _write_captions(
    panel: Image.Image, view: FrameView, captions: Sequence[str], places_px: np.ndarray, anchor: str
) -> None:
    pen = ImageDraw.Draw(panel)
    for kind, caption, place in zip(view.box_names, captions, places_px):
        if caption:
            pen.text(
                tuple(place),
                caption,
                anchor=anchor,
                fill=colour_of(kind),
                font=letters(15, bold=True),
                stroke_width=2,
                stroke_fill='black',
            )


def _write_table(pen: ImageDraw.ImageDraw, frame: DetectedFrame, left: int, top: int) -> None:
    """Boxes of each class and kind, then what the kinds and their colours mean."""
    names, counts = [*LEAST_IOU], frame.counts()
    for column, kind in enumerate(('objects', FOUND, MISSED, FALSE, 'IoU')):
        right = left + NAMES_PX + column * COLUMN_PX
        fill = colour_of(kind) if kind in KINDS else INK
        pen.text((right, top), kind, anchor='ra', fill=fill, font=letters(22, bold=True))
    for row, name in enumerate(names, start=1):
        of = counts.get(name, dict.fromkeys(KINDS, 0))
        line = top + row * TABLE_ROW_PX
        pen.line((left, line - 8, left + NAMES_PX + 4 * COLUMN_PX, line - 8), fill=GRID)
        pen.text((left, line), name, fill=INK, font=letters(22))
        cells = (of[FOUND] + of[MISSED], of[FOUND], of[MISSED], of[FALSE], f'> {LEAST_IOU[name]}')
        for column, cell in enumerate(cells):
            right = left + NAMES_PX + column * COLUMN_PX
            pen.text((right, line), str(cell), anchor='ra', fill=INK if cell else FAINT_INK, font=letters(22))
    top += (len(names) + 2) * TABLE_ROW_PX
    for kind, meaning in MEANINGS.items():
        pen.rectangle((left, top + 3, left + 22, top + 25), outline=colour_of(kind), width=4)
        pen.text((left + 36, top), f'{kind}: {meaning}', fill=FAINT_INK, font=letters(20))
        top += TABLE_ROW_PX
    count, left_out = len(frame.shown.scores), len(frame.detections.scores) - len(frame.shown.scores)
    told = f'{count} detections with a score of at least {frame.min_score:g}; {left_out} others are left out.'
    pen.text((left, top + GAP_PX), told, fill=FAINT_INK, font=letters(20))
