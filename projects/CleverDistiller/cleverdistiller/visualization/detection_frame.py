"""Detections of one frame, judged against its objects."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_predictions import FrameDetections
from cleverdistiller.evaluation.kitti_ap import MIN_OVERLAPS
from cleverdistiller.ops.rotated_iou import iou_3d
from cleverdistiller.visualization.frame_view import FrameView

LEAST_IOU = {name: overlap['3d'] for name, overlap in MIN_OVERLAPS['official'].items()}
# What a box can be, in the order of drawing: an object that a detection took, one that none took, a detection that
# took none, one that took an object.
FOUND, MISSED, FALSE, HIT = KINDS = ('found', 'missed', 'false', 'hit')


@dataclass(frozen=True)
class DetectedFrame:
    """A frame's objects and what a detector found of them.

    Args:
        view (FrameView): The frame; its boxes are the objects that should be found.
        detections (FrameDetections): Of this frame.
        min_score (float): Detections below are neither judged nor drawn.

    Raises:
        InputError: If a detection is of no class with a known overlap.
    """

    view: FrameView
    detections: FrameDetections
    min_score: float = 0.3

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.detections.names.tolist()) - LEAST_IOU.keys()):
            raise InputError(
                f'{self.view.title} with detections of {", ".join(unknown)}',
                f'detections of {", ".join(LEAST_IOU)}',
                'give the predictions of a detector with these classes',
            )

    @cached_property
    def shown(self) -> FrameDetections:
        """Detections that are sure enough, the surest first."""
        sure = np.flatnonzero(self.detections.scores >= self.min_score)
        order = sure[np.argsort(-self.detections.scores[sure], kind='stable')]
        found = self.detections
        return replace(
            found, boxes_lidar=found.boxes_lidar[order], scores=found.scores[order], names=found.names[order]
        )

    @cached_property
    def taken(self) -> np.ndarray:
        """(M,) object that each shown detection took, -1 for none; see :func:`match`."""
        objects = _lift(self.view.boxes_lidar_m, -0.5)
        return match(objects, np.array(self.view.box_names, str), self.shown.boxes_lidar, self.shown.names)

    @cached_property
    def object_kinds(self) -> np.ndarray:
        """(G,) ``found`` or ``missed``."""
        rows = np.arange(len(self.view.box_names))
        return np.where(np.isin(rows, self.taken), FOUND, MISSED)

    @cached_property
    def detection_kinds(self) -> np.ndarray:
        """(M,) ``hit`` or ``false``, of the shown detections."""
        return np.where(self.taken >= 0, HIT, FALSE)

    def judged(self) -> tuple[FrameView, list[str]]:
        """The frame as it is drawn.

        Returns:
            tuple[FrameView, list[str]]: Points without a class, boxes that are called what became of them, and a
            caption for each: the class of a missed object, class and score of a detection, nothing for a found object.
        """
        boxes = np.concatenate([self.view.boxes_lidar_m, _lift(self.shown.boxes_lidar, 0.5)])
        kinds = np.concatenate([self.object_kinds, self.detection_kinds])
        missed = [name if kind == MISSED else '' for name, kind in zip(self.view.box_names, self.object_kinds)]
        captions = [*missed, *(f'{name} {score:.2f}' for name, score in zip(self.shown.names, self.shown.scores))]
        order = sorted(range(len(kinds)), key=lambda row: KINDS.index(kinds[row]))
        view = replace(
            self.view,
            labels=np.full(len(self.view.points_lidar_m), -1),
            boxes_lidar_m=boxes[order],
            box_names=tuple(kinds[order].tolist()),
        )
        return view, [captions[row] for row in order]

    def counts(self) -> dict[str, dict[str, int]]:
        """Class to the number of its boxes of each kind, for classes with a box."""
        names = np.concatenate([np.array(self.view.box_names, str), self.shown.names])
        kinds = np.concatenate([self.object_kinds, self.detection_kinds])
        return {
            name: {kind: int(((names == name) & (kinds == kind)).sum()) for kind in KINDS}
            for name in LEAST_IOU
            if name in names
        }

    def told(self) -> str:
        """One line: what of each class was found."""
        parts = [
            f'{name} {of[FOUND]} of {of[FOUND] + of[MISSED]} found, {of[FALSE]} false'
            for name, of in self.counts().items()
        ]
        return '; '.join(parts) or 'no object and no detection'


def match(objects: np.ndarray, object_names: np.ndarray, boxes: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Give objects to detections: each in turn takes the free object of its class that it overlaps most.

    It takes none unless the overlap in 3D is above KITTI's for its class (0.7 for cars, 0.5 for the others). This is
    for looking at one frame; the benchmarks' own rules, which ignore some objects, are in ``evaluation``.

    Args:
        objects (np.ndarray): (G, 7) boxes as :class:`FrameDetections` has them.
        object_names (np.ndarray): (G,) classes.
        boxes (np.ndarray): (M, 7) detections, the surest first.
        names (np.ndarray): (M,) classes.

    Returns:
        np.ndarray: (M,) int64 row of ``objects``, -1 for none.
    """
    ious = iou_3d(torch.from_numpy(boxes)[:, None], torch.from_numpy(objects)[None]).numpy()  # (M, G)
    taken = np.full(len(boxes), -1)
    if not len(objects):
        return taken
    for row, name in enumerate(names):
        free = (object_names == name) & ~np.isin(np.arange(len(objects)), taken)
        best = np.argmax(np.where(free, ious[row], -1))
        if free[best] and ious[row, best] > LEAST_IOU[name]:
            taken[row] = best
    return taken


def _lift(boxes: np.ndarray, share: float) -> np.ndarray:
    """Boxes with their z moved by a share of their height: middle and bottom are half a height apart."""
    lifted = np.array(boxes, float)
    lifted[:, 2] += share * lifted[:, 5]
    return lifted
