"""Predicted classes beside the true ones, from above, a row for each frame (as the paper's Fig. A1)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from cleverdistiller.datasets.palette import colour_of
from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.segmentation import confusion_matrix, mean_iou, per_class_iou
from cleverdistiller.visualization.bird_eye_panel import draw_bird_eye
from cleverdistiller.visualization.frame_sheet import BANNER, BANNER_PX, GAP_PX, draw_banner
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.panel_style import FAINT_INK, GROUND, INK, letters

PANEL_PX, TITLE_PX, SWATCH_PX, LEGEND_ROW_PX = 760, 44, 22, 38
RIGHT_OR_WRONG = ('correct', 'wrong')


@dataclass(frozen=True)
class SegmentedFrame:
    """A frame with a predicted class for each point.

    Args:
        view (FrameView): The frame; its ``labels`` are the true classes, None where there are none.
        predicted (np.ndarray): (N,) rows of ``view.class_names``.

    Raises:
        InputError: If there is not one prediction for each point.
    """

    view: FrameView
    predicted: np.ndarray

    def __post_init__(self) -> None:
        if self.predicted.shape != self.view.points_lidar_m.shape[:1]:
            raise InputError(
                f'{self.view.title}: {self.predicted.shape} predictions of {len(self.view.points_lidar_m)} points',
                'a prediction for each point',
                'check the model and the test pipeline',
            )

    @property
    def prediction(self) -> FrameView:
        """The frame with the predicted classes for labels."""
        return replace(self.view, labels=self.predicted)

    @property
    def errors(self) -> FrameView:
        """The labelled points, each correct or wrong; the wrong ones last, so that they are drawn on top."""
        labelled = np.flatnonzero(self.view.labels >= 0)
        wrong = (self.predicted != self.view.labels)[labelled].astype(int)
        order = np.argsort(wrong, kind='stable')
        points = self.view.points_lidar_m[labelled[order]]
        return replace(self.view, points_lidar_m=points, labels=wrong[order], class_names=RIGHT_OR_WRONG)

    def told(self) -> str:
        """Share of correct points and mean IoU of this frame."""
        labelled = self.view.labels >= 0
        if not labelled.any():
            return 'no labelled point'
        confusion = confusion_matrix(self.view.labels[labelled], self.predicted[labelled], len(self.view.class_names))
        accuracy = np.trace(confusion) / confusion.sum()
        return f'{accuracy:.1%} of {labelled.sum():,} points correct, mIoU {mean_iou(per_class_iou(confusion)):.1%}'


def draw_errors(frames: Sequence[SegmentedFrame], reach_m: float = 50.0) -> Image.Image:
    """Ground truth, prediction and errors of each frame.

    Args:
        frames (Sequence[SegmentedFrame]): All with labels.
        reach_m (float): Metres from the middle of a panel to its sides.

    Returns:
        Image.Image: RGB.

    Raises:
        InputError: If a frame has no labels.
    """
    for frame in frames:
        if frame.view.labels is None:
            raise InputError(f'{frame.view.title} without labels', 'a labelled frame', 'draw its predictions instead')
    rows = [
        (
            f'{frame.view.title}   {frame.told()}',
            (('ground truth', frame.view), ('prediction', frame.prediction), ('errors', frame.errors)),
        )
        for frame in frames
    ]
    return _draw_rows(rows, frames, reach_m, RIGHT_OR_WRONG)


def draw_predictions(frames: Sequence[SegmentedFrame], reach_m: float = 50.0) -> Image.Image:
    """The prediction of each frame, with or without labels; see :func:`draw_errors`."""
    return _draw_rows([(frame.view.title, (('prediction', frame.prediction),)) for frame in frames], frames, reach_m)


def _draw_rows(
    rows: Sequence[tuple[str, Sequence[tuple[str, FrameView]]]],
    frames: Sequence[SegmentedFrame],
    reach_m: float,
    more_names: Sequence[str] = (),
) -> Image.Image:
    names = [*_names_seen(frames), *more_names]
    width = max(len(panels) for _, panels in rows) * (PANEL_PX + GAP_PX) + GAP_PX
    spots, legend_px = _legend_spots(names, width)
    simulated = any(frame.view.simulated for frame in frames)
    top = BANNER_PX if simulated else 0
    sheet = Image.new('RGB', (width, top + len(rows) * (TITLE_PX + PANEL_PX + GAP_PX) + legend_px), GROUND)
    pen = ImageDraw.Draw(sheet)
    if simulated:
        draw_banner(pen, width, BANNER if width > 2 * PANEL_PX else BANNER.split()[0], letters_px=30)
    for title, panels in rows:
        pen.text((2 * GAP_PX, top + TITLE_PX / 2), title, anchor='lm', fill=INK, font=letters(22, bold=True))
        top += TITLE_PX
        for column, (name, view) in enumerate(panels):
            left = GAP_PX + column * (PANEL_PX + GAP_PX)
            sheet.paste(
                draw_bird_eye(view, PANEL_PX, reach_m, by_height=view.class_names != RIGHT_OR_WRONG), (left, top)
            )
            pen.text((left + 12, top + 10), name, fill=INK, font=letters(20), stroke_width=2, stroke_fill='black')
        top += PANEL_PX + GAP_PX
    for name, (left, row) in zip(names, spots):
        middle = top + row * LEGEND_ROW_PX + LEGEND_ROW_PX // 2
        half = SWATCH_PX // 2
        pen.rectangle((left, middle - half, left + SWATCH_PX, middle + half), fill=colour_of(name))
        pen.text((left + SWATCH_PX + 8, middle), name, anchor='lm', fill=FAINT_INK, font=letters(18))
    return sheet


def _names_seen(frames: Sequence[SegmentedFrame]) -> list[str]:
    """Classes that any frame has, true or predicted, in the dataset's order."""
    seen = set()
    for frame in frames:
        seen.update(np.unique(frame.predicted).tolist())
        seen.update([] if frame.view.labels is None else np.unique(frame.view.labels).tolist())
    return [name for label, name in enumerate(frames[0].view.class_names) if label in seen]


def _legend_spots(names: Sequence[str], width: int) -> tuple[list[tuple[int, int]], int]:
    """(left, row) of each name, set like words on lines, and the height of all lines."""
    spots, left, row = [], 2 * GAP_PX, 0
    for name in names:
        length = SWATCH_PX + 8 + int(letters(18).getlength(name)) + 30
        if left + length > width and left > 2 * GAP_PX:
            left, row = 2 * GAP_PX, row + 1
        spots.append((left, row))
        left += length
    return spots, (row + 1) * LEGEND_ROW_PX + GAP_PX
