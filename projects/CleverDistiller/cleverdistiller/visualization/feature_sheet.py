"""A teacher's and its students' features on one frame, in the same colours."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from cleverdistiller.visualization.camera_panel import draw_camera
from cleverdistiller.visualization.captioned_rows import stack_rows
from cleverdistiller.visualization.distilled_frame import DistilledFrame
from cleverdistiller.visualization.feature_panels import draw_from_above, draw_patches, draw_points
from cleverdistiller.visualization.frame_sheet import GAP_PX, WIDTH_PX
from cleverdistiller.visualization.principal_colours import PrincipalColours

MOST_CAMERA_PX, MOST_BIRD_EYE_PX = 790, 900
HOW_TO_READ = (
    'How to read: where two things have one colour, their features are alike. Red, green and blue are the three '
    "strongest principal components of the teacher's features at this frame's LiDAR points, {share:.0%} of their "
    'variance; basis and scale are the same in all panels. A student that learned what its teacher sees paints the '
    'same thing in the same colour, from the LiDAR sweep alone.'
)
AGREEMENT = (
    "Each student's heading gives the mean cosine of its features to the teacher's at the same points. For comparison: "
    'one constant vector for all points could reach {:.3f}.'
)


def draw_features(frame: DistilledFrame, cameras: Sequence[str] = (), reach_m: float = 50.0) -> Image.Image:
    """Draw the pictures, the teacher's patches, each student's points, and both from above.

    Args:
        frame (DistilledFrame): The features.
        cameras (Sequence[str]): Cameras to show; none for all. Colours are chosen on all of them in any case.
        reach_m (float): Metres from the middle of a view from above to its sides.

    Returns:
        Image.Image: RGB.

    Raises:
        InputError: If the frame has no such camera, or too few pairs to choose colours by.
    """
    colours_of = PrincipalColours.fit(frame.pixel_features)
    rows = [frame.camera_index(name) for name in cameras] or range(len(frame.cameras))
    shown = [frame.cameras[row] for row in rows]
    sizes = [_size_wh(camera.rgb.shape, len(shown)) for camera in shown]
    students = [(student.name, colours_of(student.point_features)) for student in frame.students]
    cosines = [frame.agreement(student) for student in frame.students]
    sheet_rows = [
        ('The pictures', [draw_camera(camera, frame.view, size) for camera, size in zip(shown, sizes)]),
        (
            'Teacher: its feature of each image patch',
            [
                draw_patches(camera, frame.view, colours_of(frame.patch_features[row]), size)
                for row, camera, size in zip(rows, shown, sizes)
            ],
        ),
        *(
            (
                f'Student {name}: its feature of each LiDAR point; mean cosine {cosine:.3f}',
                [draw_points(camera, frame.view, colours, size) for camera, size in zip(shown, sizes)],
            )
            for (name, colours), cosine in zip(students, cosines)
        ),
        (
            f"From above, the car's front up, within {reach_m:g} m: the points that a camera sees",
            _from_above(frame, colours_of, students, reach_m),
        ),
    ]
    notes = (
        f'Teacher: {frame.teacher}.',
        HOW_TO_READ.format(share=colours_of.share),
        AGREEMENT.format(frame.constant_agreement()),
    )
    return stack_rows(f'What teacher and student see   {frame.view.title}', notes, sheet_rows, frame.view.simulated)


def _from_above(
    frame: DistilledFrame,
    colours_of: PrincipalColours,
    students: Sequence[tuple[str, np.ndarray]],
    reach_m: float,
) -> list[Image.Image]:
    """The teacher's features at the paired points, then each student's of the same points."""
    paired = np.zeros(len(frame.view.points_lidar_m), bool)
    paired[frame.point_index] = True
    of_teacher = np.zeros((len(paired), 3), np.uint8)
    of_teacher[frame.point_index] = colours_of(frame.pixel_features)
    panels = [("teacher's feature at the point's pixel", of_teacher), *students]
    size_px = min(MOST_BIRD_EYE_PX, (WIDTH_PX - GAP_PX) // len(panels) - GAP_PX)
    return [draw_from_above(frame.view, colours, paired, size_px, reach_m, name) for name, colours in panels]


def _size_wh(shape_hw: tuple[int, ...], count: int) -> tuple[int, int]:
    """Columns and rows of one of ``count`` pictures in a row."""
    width = min(MOST_CAMERA_PX, (WIDTH_PX - GAP_PX) // count - GAP_PX)
    return width, round(width * shape_hw[0] / shape_hw[1])
