"""What is similar to a chosen point, for the teacher and for a student (as the paper's Fig. A2)."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from PIL import Image, ImageDraw

from cleverdistiller.visualization.bird_eye_panel import to_panel_px
from cleverdistiller.visualization.captioned_rows import stack_rows
from cleverdistiller.visualization.distilled_frame import DistilledFrame
from cleverdistiller.visualization.feature_panels import draw_from_above, draw_patches, draw_points
from cleverdistiller.visualization.frame_sheet import GAP_PX, WIDTH_PX
from cleverdistiller.visualization.panel_style import FAINT_INK, GROUND, INK, letters, scale_colours

CAMERA_PX, LEGEND_PX, BAR_PX = 910, 76, 30
BIRD_EYE_PX = WIDTH_PX - 2 * CAMERA_PX - 4 * GAP_PX
PERCENTILE, TOP = 2, 1.0  # of all similarities on the sheet, for the scale's cold end; its warm end is the query itself
OPACITY = 0.6
HOW_TO_READ = (
    "How to read: each row asks about the thing under the cross. Left: cosine similarity of the teacher's feature "
    "there with its feature of every image patch. Middle and right: similarity of the student's feature of the point "
    'under the cross with its feature of every other point, on the picture and from above (all round, also where no '
    'camera looks). Other things of the same kind should be warm, the rest cold, and the student like its teacher.'
)


def draw_similarity(
    frame: DistilledFrame,
    camera: int,
    queries: Sequence[int],
    reach_m: float = 50.0,
    scale: tuple[float, float] | None = None,
) -> Image.Image:
    """Draw a row for each query and student: the teacher's patches, the student's points, and these from above.

    Args:
        frame (DistilledFrame): The features.
        camera (int): Row of the camera.
        queries (Sequence[int]): Rows of pairs of this camera.
        reach_m (float): Metres from the middle of a view from above to its sides.
        scale (tuple[float, float] | None): Cosines at the ends of the one colour scale; None to fit it to the sheet.

    Returns:
        Image.Image: RGB.
    """
    found = [similarities(frame, camera, query) for query in queries]
    low, high = scale or fitted_scale([values for patches, students in found for values in (patches, *students)])
    rows = []
    for number, (query, (of_patches, of_students)) in enumerate(zip(queries, found), start=1):
        (u, v), point = frame.uv_px[query], frame.view.points_lidar_m[frame.point_index[query]]
        where = (
            f'Query {number}: pixel {u:.0f} {v:.0f} of {frame.cameras[camera].name}, {np.linalg.norm(point):.1f} m away'
        )
        for student, of_points in zip(frame.students, of_students):
            panels = _panels(frame, camera, query, of_patches, of_points, partial(_heat, low=low, high=high), reach_m)
            rows.append((f'{where}; student {student.name}', panels))
    rows.append(('Cosine similarity: one scale for the whole sheet', [_legend(low, high)]))
    notes = (f'Teacher: {frame.teacher}.', HOW_TO_READ)
    return stack_rows(f'What is similar?   {frame.view.title}', notes, rows, frame.view.simulated)


def similarities(frame: DistilledFrame, camera: int, query: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Cosine of a query with all else.

    Args:
        frame (DistilledFrame): The features.
        camera (int): Row of the camera.
        query (int): Row of a pair.

    Returns:
        tuple[np.ndarray, list[np.ndarray]]: (h, w), the teacher's feature at the query's pixel with the camera's
        patches; and for each student (N,), its feature of the query's point with every point's.
    """
    point = frame.point_index[query]
    return (
        frame.patch_features[camera] @ frame.pixel_features[query],
        [student.point_features @ student.point_features[point] for student in frame.students],
    )


def fitted_scale(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """Ends of a scale that holds all but the lowest cosines of a sheet."""
    low = min(np.percentile(part, PERCENTILE) for part in values)
    return min(float(low), TOP - 1e-3), TOP


def _heat(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return scale_colours((values - low) / (high - low))


def _panels(
    frame: DistilledFrame,
    camera: int,
    query: int,
    of_patches: np.ndarray,
    of_points: np.ndarray,
    heat: Callable[[np.ndarray], np.ndarray],
    reach_m: float,
) -> list[Image.Image]:
    """The three panels of a row, the query marked on each."""
    view, picture = frame.view, frame.cameras[camera]
    height, width = picture.rgb.shape[:2]
    size_wh = (CAMERA_PX, round(CAMERA_PX * height / width))
    on_panel = frame.uv_px[query] * (np.array(size_wh) / (width, height))
    point = view.points_lidar_m[frame.point_index[query]]
    everywhere = np.ones(len(of_points), bool)
    panels = [
        draw_patches(picture, view, heat(of_patches), size_wh, OPACITY),
        draw_points(picture, view, heat(of_points), size_wh),
        draw_from_above(view, heat(of_points), everywhere, BIRD_EYE_PX, reach_m, ''),
    ]
    spots = [on_panel, on_panel, to_panel_px(point[None, :2], view.ahead_yaw, BIRD_EYE_PX, reach_m)[0]]
    captions = ('teacher: image patches', 'student: LiDAR points', 'student, from above')
    for panel, spot, caption in zip(panels, spots, captions):
        _mark(panel, spot)
        style = dict(fill=INK, font=letters(20, bold=True), stroke_width=3, stroke_fill='black')
        ImageDraw.Draw(panel).text((panel.width - 10, 7), caption, anchor='ra', **style)
    return panels


def _mark(panel: Image.Image, spot_px: np.ndarray, arm_px: int = 16) -> None:
    """A white cross with a black edge, open in its middle so that the colour there is seen."""
    pen, (u, v) = ImageDraw.Draw(panel), spot_px
    for colour, line_px in (('black', 7), ('white', 3)):
        for du, dv in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            pen.line((u + 5 * du, v + 5 * dv, u + arm_px * du, v + arm_px * dv), fill=colour, width=line_px)


def _legend(low: float, high: float) -> Image.Image:
    panel = Image.new('RGB', (WIDTH_PX - 4 * GAP_PX, LEGEND_PX), GROUND)
    strip = np.broadcast_to(scale_colours(np.linspace(0, 1, panel.width)), (BAR_PX, panel.width, 3))
    panel.paste(Image.fromarray(np.ascontiguousarray(strip)), (0, 0))
    pen, under = ImageDraw.Draw(panel), BAR_PX + 8
    for share, anchor in ((0.0, 'la'), (0.25, 'ma'), (0.5, 'ma'), (0.75, 'ma'), (1.0, 'ra')):
        text = f'{low + share * (high - low):.2f}'
        pen.text((share * panel.width, under), text, anchor=anchor, fill=FAINT_INK, font=letters(22))
    return panel
