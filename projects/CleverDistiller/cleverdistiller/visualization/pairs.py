"""LiDAR points drawn on the cameras they are paired with."""

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

FAR_M = 60.0  # depth at the dark end of the colour map


def draw_pairs(
    images: np.ndarray,
    names: list[str],
    image_index: np.ndarray,
    uv_px: np.ndarray,
    depth_m: np.ndarray,
    columns: int = 3,
    radius_px: float = 1.0,
) -> Image.Image:
    """Tile the cameras and put a dot, coloured by depth, on each paired pixel.

    Args:
        images (np.ndarray): (V, H, W, 3) uint8 RGB.
        names (list[str]): V camera names.
        image_index (np.ndarray): (P,) camera of each pair.
        uv_px (np.ndarray): (P, 2) column and row.
        depth_m (np.ndarray): (P,) metres; near is yellow, far is dark.
        columns (int): Cameras in a row of tiles.
        radius_px (float): Size of the dots.

    Returns:
        Image.Image: The tiles.
    """
    count, height, width = images.shape[:3]
    rows = -(-count // columns)
    sheet = Image.new('RGB', (columns * width, rows * height))
    colours = (matplotlib.colormaps['plasma_r'](np.clip(depth_m / FAR_M, 0, 1))[:, :3] * 255).astype(int)
    for image in range(count):
        tile = Image.fromarray(images[image])
        pen = ImageDraw.Draw(tile)
        mine = np.flatnonzero(image_index == image)
        for row in mine[np.argsort(-depth_m[mine])]:  # near dots last, on top
            (u, v), colour = uv_px[row], tuple(colours[row])
            pen.ellipse((u - radius_px, v - radius_px, u + radius_px, v + radius_px), fill=colour)
        pen.text((8, 8), f'{names[image]}  {len(mine)} pairs', fill='white', stroke_width=2, stroke_fill='black')
        sheet.paste(tile, (image % columns * width, image // columns * height))
    return sheet
