"""A camera's picture with the frame's boxes and points on it."""

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw

from cleverdistiller.datasets.palette import colour_of
from cleverdistiller.ops.projection import project_points
from cleverdistiller.visualization.box_corners import FRONT_EDGES, OTHER_EDGES, box_corners
from cleverdistiller.visualization.camera_view import CameraView
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.panel_style import class_colours, letters, paint_dots, scale_colours

FAR_M = 60.0  # depth at the far end of the colour scale
NEAREST_M = 0.3  # what is nearer, or behind the camera, is cut off
_SUBPIXEL_BITS = 4


def draw_camera(
    camera: CameraView,
    view: FrameView,
    size_wh: tuple[int, int],
    points: bool = False,
    point_colours: np.ndarray | None = None,
    dot_px: int | None = None,
) -> Image.Image:
    """Scale the picture, then draw each box as a wire frame (thick at its front) and, if asked, the points.

    Args:
        camera (CameraView): The camera.
        view (FrameView): Its frame.
        size_wh (tuple[int, int]): Columns and rows of the panel in pixels.
        points (bool): Whether to draw the points: in their class's colour, without labels by depth.
        point_colours (np.ndarray | None): (N, 3) uint8 instead of these colours.
        dot_px (int | None): Side of a point; None for small ones.

    Returns:
        Image.Image: RGB.
    """
    height, width = camera.rgb.shape[:2]
    canvas = np.array(Image.fromarray(camera.rgb).resize(size_wh, Image.LANCZOS))
    cam2panel = np.diag([size_wh[0] / width, size_wh[1] / height, 1.0]) @ camera.cam2img
    if points:
        _draw_points(canvas, camera, cam2panel, view, point_colours, dot_px)
    line_px = max(1, round(size_wh[0] / 900))
    for box, name in zip(box_corners(view.boxes_lidar_m), view.box_names):
        corners_cam = box @ camera.lidar2cam[:3, :3].T + camera.lidar2cam[:3, 3]  # (8, 3)
        for edges, thickness in ((OTHER_EDGES, line_px), (FRONT_EDGES, line_px + 1)):
            for a, b in edges:
                _draw_edge(canvas, corners_cam[[a, b]], cam2panel, colour_of(name), thickness)
    panel = Image.fromarray(canvas)
    ImageDraw.Draw(panel).text(
        (10, 7), camera.name, fill='white', font=letters(20, bold=True), stroke_width=2, stroke_fill='black'
    )
    return panel


def _draw_points(
    canvas: np.ndarray,
    camera: CameraView,
    cam2panel: np.ndarray,
    view: FrameView,
    point_colours: np.ndarray | None,
    dot_px: int | None,
) -> None:
    uv_px, depth_m = project_points(
        torch.from_numpy(view.points_lidar_m),
        torch.from_numpy(camera.lidar2cam)[None],
        torch.from_numpy(cam2panel)[None],
    )
    uv_px, depth_m = uv_px[0].numpy(), depth_m[0].numpy()
    height, width = canvas.shape[:2]
    seen = np.flatnonzero((depth_m > NEAREST_M) & (uv_px > -1).all(1) & (uv_px < (width, height)).all(1))
    seen = seen[np.argsort(-depth_m[seen], kind='stable')]  # near ones last, on top
    if point_colours is not None:
        colours = point_colours[seen]
    else:
        colours = scale_colours(1 - depth_m[seen] / FAR_M) if view.labels is None else class_colours(view)[seen]
    paint_dots(canvas, uv_px[seen], colours, size_px=dot_px or max(2, round(width / 500)))


def _draw_edge(canvas: np.ndarray, ends_cam: np.ndarray, cam2panel: np.ndarray, colour: tuple, thickness: int) -> None:
    """A line between two points (2, 3) of the camera's frame, as far as it lies in front of the camera."""
    near, far = ends_cam[np.argsort(ends_cam[:, 2])]
    if far[2] <= NEAREST_M:
        return
    if near[2] < NEAREST_M:
        near = near + (far - near) * ((NEAREST_M - near[2]) / (far[2] - near[2]))
    homogeneous = np.stack([near, far]) @ cam2panel.T
    pixels = np.rint(homogeneous[:, :2] / homogeneous[:, 2:] * 2**_SUBPIXEL_BITS)
    start, end = (tuple(map(int, pixel)) for pixel in pixels)
    cv2.line(canvas, start, end, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
