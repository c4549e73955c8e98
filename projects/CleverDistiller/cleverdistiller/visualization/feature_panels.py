"""Panels that show a colour for each patch or point: on the picture and from above."""

from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from cleverdistiller.visualization.bird_eye_panel import draw_bird_eye
from cleverdistiller.visualization.camera_panel import draw_camera
from cleverdistiller.visualization.camera_view import CameraView
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.panel_style import INK, PANEL, letters

CAPTION_PX = 20  # less where the panel is narrow
BIRD_EYE_DOT_PX = 2.5  # colours are told apart on larger dots only
DIMMED = 0.45  # brightness of a grey picture under coloured points


def draw_patches(
    camera: CameraView, view: FrameView, colours: np.ndarray, size_wh: tuple[int, int], opacity: float = 1.0
) -> Image.Image:
    """Colour the patches of a picture.

    Args:
        camera (CameraView): The picture.
        view (FrameView): Its frame.
        colours (np.ndarray): (h, w, 3) uint8, a colour for each patch.
        size_wh (tuple[int, int]): Columns and rows of the panel in pixels.
        opacity (float): Below 1 the picture, in grey, shows through.

    Returns:
        Image.Image: RGB.
    """
    rows, columns = camera.rgb.shape[:2]
    patches = Image.fromarray(colours).resize((columns, rows), Image.NEAREST)
    blend = Image.blend(Image.fromarray(_grey(camera.rgb)), patches, opacity)
    return draw_camera(replace(camera, rgb=np.array(blend)), view, size_wh)


def draw_points(camera: CameraView, view: FrameView, colours: np.ndarray, size_wh: tuple[int, int]) -> Image.Image:
    """Colour the points that a camera sees, on its picture in dark grey.

    Args:
        camera (CameraView): The picture.
        view (FrameView): Its frame of N points.
        colours (np.ndarray): (N, 3) uint8.
        size_wh (tuple[int, int]): Columns and rows of the panel in pixels.

    Returns:
        Image.Image: RGB.
    """
    dark = replace(camera, rgb=(_grey(camera.rgb) * DIMMED).astype(np.uint8))
    return draw_camera(dark, view, size_wh, points=True, point_colours=colours, dot_px=max(3, round(size_wh[0] / 160)))


def draw_from_above(
    view: FrameView, colours: np.ndarray, shown: np.ndarray, size_px: int, reach_m: float, caption: str
) -> Image.Image:
    """Colour points seen from above.

    Args:
        view (FrameView): The frame of N points.
        colours (np.ndarray): (N, 3) uint8.
        shown (np.ndarray): (N,) bool, which points to draw.
        size_px (int): Side of the square panel.
        reach_m (float): Metres from the middle to each side.
        caption (str): Written into the panel.

    Returns:
        Image.Image: RGB.
    """
    part = replace(view, points_lidar_m=view.points_lidar_m[shown])
    panel = draw_bird_eye(part, size_px, reach_m, point_colours=colours[shown], dot_px=BIRD_EYE_DOT_PX)
    room = (size_px - 24) / max(1.0, letters(CAPTION_PX, bold=True).getlength(caption))
    font = letters(int(CAPTION_PX * min(1.0, room)), bold=True)
    style = dict(fill=INK, font=font, stroke_width=3, stroke_fill=PANEL)
    ImageDraw.Draw(panel).text((12, 10), caption, **style)
    return panel


def _grey(rgb: np.ndarray) -> np.ndarray:
    return np.array(Image.fromarray(rgb).convert('L').convert('RGB'))
