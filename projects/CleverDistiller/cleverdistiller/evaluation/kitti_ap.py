"""Average precision as the KITTI object benchmark defines it: numpy in, numbers out, no GPU.

The rules are those of the benchmark's devkit (``evaluate_object.cpp``): for each class and difficulty

1. an object counts if it is of the class, tall enough in the image, and neither too occluded nor too truncated;
   other objects of the class and of its neighbour (Van for Car, Person_sitting for Pedestrian) are ignored, which
   means that they may take a detection, but that neither is scored. A detection that is too small in the image, of
   whatever class, is ignored likewise;
2. objects, in the order of their file, take the free detection with the highest score among those that overlap
   enough. The scores of those taken give up to 41 thresholds, about evenly spaced in recall;
3. at each threshold objects take again, now the detection that overlaps most. A detection left over is false, unless
   the object boxes call its part of the image DontCare (2D only, because those regions have no depth);
4. precision at a threshold is the best at any recall as high. AP_R40 averages the 40 values above recall 0, AP_R11
   every fourth of the 41; values for recalls that are never reached are 0. AOS replaces the number of hits by the sum
   of (1 + cos(angle error)) / 2 over hits.

An object *exactly* 40 or 25 px tall is ignored. Copies of ``evaluate_object.cpp`` disagree: some ask for
``height <= MIN_HEIGHT``, others for ``height < MIN_HEIGHT``, which counts it. The first is what mmdet3d and OpenPCDet
ask for, and hence how nearly all published validation numbers were made, so it is followed here. A detection exactly as
tall is no small one in any copy.

Labels without boxes in the image (all empty, as LiDAR-only tools write them) have no height to judge by: occlusion and
truncation alone say which objects count, and every number in 2D is NaN.

Hence n found objects make at most n thresholds, and AP_R40 is at most (n - 1) / 40 and AP_R11 at most ceil(n / 4) / 11,
however good the detections: on sets with fewer than 41 objects of a class the numbers say little.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.class_means import class_means
from cleverdistiller.ops.rotated_iou import bev_iou, iou_3d

RECALL_POSITIONS = 41
SPACES = ('2d', 'bev', '3d')
NEIGHBOURS = {'Car': 'Van', 'Pedestrian': 'Person_sitting', 'Cyclist': None}
CLASSES = tuple(NEIGHBOURS)
MIN_OVERLAPS = dict(
    official=dict(
        Car={'2d': 0.7, 'bev': 0.7, '3d': 0.7},
        Pedestrian={'2d': 0.5, 'bev': 0.5, '3d': 0.5},
        Cyclist={'2d': 0.5, 'bev': 0.5, '3d': 0.5},
    ),
    loose=dict(  # the second set that mmdet3d and OpenPCDet print
        Car={'2d': 0.7, 'bev': 0.5, '3d': 0.5},
        Pedestrian={'2d': 0.5, 'bev': 0.25, '3d': 0.25},
        Cyclist={'2d': 0.5, 'bev': 0.25, '3d': 0.25},
    ),
)


@dataclass(frozen=True)
class Difficulty:
    """What an object must be at least, or at most, to count."""

    min_height_px: float
    max_occlusion: int
    max_truncation: float


DIFFICULTIES = dict(
    easy=Difficulty(40, 0, 0.15),
    moderate=Difficulty(25, 1, 0.3),
    hard=Difficulty(25, 2, 0.5),
)


@dataclass(frozen=True)
class _Boxes:
    name: np.ndarray
    box_px: np.ndarray
    box_cam: np.ndarray
    alpha: np.ndarray

    def __post_init__(self) -> None:
        widths = dict(box_px=(4,), box_cam=(7,))
        for field in fields(self):
            values = getattr(self, field.name)
            wanted = (len(self.name), *widths.get(field.name, ()))
            if values.shape != wanted:
                raise ValueError(f'{field.name} has the shape {values.shape}, not {wanted}')
            if values.dtype.kind == 'f' and not np.isfinite(values).all():
                raise ValueError(f'{field.name} is NaN or infinite')


@dataclass(frozen=True)
class KittiTruth(_Boxes):
    """What a label file says about a frame, DontCare regions included.

    Args:
        name (np.ndarray): (N,) types as KITTI writes them.
        box_px (np.ndarray): (N, 4) left, top, right, bottom in the image.
        box_cam (np.ndarray): (N, 7) x, y, z of the middle of the bottom in the camera frame, length, height, width in
            metres, rotation about y in radians.
        alpha (np.ndarray): (N,) angle of observation in radians.
        occluded (np.ndarray): (N,) 0 to 3.
        truncated (np.ndarray): (N,) 0 to 1.

    Raises:
        ValueError: If lengths differ or a value is NaN or infinite.
    """

    occluded: np.ndarray
    truncated: np.ndarray


@dataclass(frozen=True)
class KittiDetections(_Boxes):
    """What a detector says about a frame.

    Args:
        name, box_px, box_cam, alpha (np.ndarray): See :class:`KittiTruth`.
        score (np.ndarray): (M,) higher is surer.

    Raises:
        ValueError: If lengths differ or a value is NaN or infinite.
    """

    score: np.ndarray


def kitti_ap(
    truths: Sequence[KittiTruth],
    detections: Sequence[KittiDetections],
    classes: Sequence[str] = CLASSES,
    min_overlaps: str = 'official',
) -> dict[str, float]:
    """Every number of the benchmark for a set of frames.

    Args:
        truths (Sequence[KittiTruth]): One a frame.
        detections (Sequence[KittiDetections]): One a frame, in the same order; those of other classes than are scored
            belong in it.
        classes (Sequence[str]): Out of ``CLASSES``.
        min_overlaps (str): A key of ``MIN_OVERLAPS``.

    Returns:
        dict[str, float]: ``CLASS/SPACE/STATISTIC/DIFFICULTY`` with SPACE ``2d``, ``bev`` or ``3d`` and STATISTIC
        ``AP_R40``, ``AP_R11``, and in 2d also ``AOS_R40`` and ``AOS_R11``, from 0 to 1, or NaN where no object
        counts, and in 2d where no object has a box in the image; CLASS ``mean`` is the mean over the classes with
        objects. ``CLASS/objects/DIFFICULTY`` is how many objects count.

    Raises:
        InputError: If a class or the set of overlaps is unknown, if there is not one KittiDetections a frame, or if
            no object counts at all.
    """
    if unknown := set(classes) - set(CLASSES):
        raise InputError(f'the classes {sorted(unknown)}', f'classes out of {CLASSES}', 'score those alone')
    if min_overlaps not in MIN_OVERLAPS:
        raise InputError(f'min_overlaps={min_overlaps!r}', f'one of {tuple(MIN_OVERLAPS)}', 'choose one of them')
    if len(truths) != len(detections):
        raise InputError(
            f'detections of {len(detections)} frames and ground truth of {len(truths)}',
            'both for each frame',
            'give frames without detections an empty KittiDetections',
        )
    frames = _Frames(truths, detections)
    numbers = {}
    for name in classes:
        for level, limits in DIFFICULTIES.items():
            counts, ignored = frames.roles_of_objects(name, limits)
            numbers[f'{name}/objects/{level}'] = int(counts.sum())
            for space in SPACES:
                least = MIN_OVERLAPS[min_overlaps][name][space]
                curves = frames.curves(name, limits, counts, counts | ignored, space, least)
                for statistic, curve in curves.items():
                    numbers[f'{name}/{space}/{statistic}_R40/{level}'] = float(curve[1:].sum() / 40)
                    numbers[f'{name}/{space}/{statistic}_R11/{level}'] = float(curve[::4].sum() / 11)
    if not any(numbers[f'{name}/objects/{level}'] for name in classes for level in DIFFICULTIES):
        raise InputError(
            f'{len(truths)} frames without one object of {tuple(classes)} that counts at any difficulty',
            'ground truth to score against',
            'check that the frames are those of a labelled split',
        )
    return {**numbers, **class_means(numbers, classes)}


def score_thresholds(scores: np.ndarray, num_objects: int) -> np.ndarray:
    """Scores at about evenly spaced recalls.

    Args:
        scores (np.ndarray): (H,) of the detections that were taken by objects that count.
        num_objects (int): How many objects count.

    Returns:
        np.ndarray: (T,) descending, T at most 41.
    """
    scores = np.sort(scores)[::-1]
    last = len(scores) - 1
    thresholds, wanted = [], 0.0
    for i, score in enumerate(scores):
        recall, next_recall = (i + 1) / num_objects, (i + 2) / num_objects
        if i < last and next_recall - wanted < wanted - recall:
            continue  # the next score comes closer to the wanted recall
        thresholds.append(score)
        wanted += 1 / (RECALL_POSITIONS - 1)
    return np.array(thresholds)


class _Frames:
    """Objects and detections of all frames in long arrays, and what each pair of one frame shares."""

    def __init__(self, truths: Sequence[KittiTruth], detections: Sequence[KittiDetections]) -> None:
        frames = np.arange(len(truths))
        self.truth = _joined(KittiTruth, truths)
        self.found = _joined(KittiDetections, detections)
        self.truth_frame = np.repeat(frames, [len(truth.name) for truth in truths])
        self.found_frame = np.repeat(frames, [len(found.name) for found in detections])
        self.truth_type, self.found_type = (np.char.lower(boxes.name) for boxes in (self.truth, self.found))
        sides_px = self.truth.box_px[:, 2:] - self.truth.box_px[:, :2]
        self.has_boxes_px = bool((sides_px[self.truth_type != 'dontcare'] > 0).all(1).any())
        self.truth_height_px = sides_px[:, 1] if self.has_boxes_px else np.full(len(sides_px), math.inf)
        self.found_height_px = np.abs(self.found.box_px[:, 3] - self.found.box_px[:, 1])

        regions = np.flatnonzero(self.truth_type == 'dontcare')
        region, found = _pairs(self.truth_frame[regions], self.found_frame)
        shared = _shared_px(self.found.box_px[found], self.truth.box_px[regions[region]])
        self.region_share = np.zeros(len(self.found_frame))  # largest share of a detection in one DontCare region
        np.maximum.at(self.region_share, found, _ratio(shared, _area_px(self.found.box_px[found])))

        objects = np.flatnonzero(self.truth_type != 'dontcare')
        truth, found = _pairs(self.truth_frame[objects], self.found_frame)
        truth = objects[truth]
        self.overlaps = {}
        for space in SPACES:
            overlap = _overlap(self.truth, truth, self.found, found, space)
            some = overlap > 0
            self.overlaps[space] = truth[some], found[some], overlap[some]

    def roles_of_objects(self, name: str, limits: Difficulty) -> tuple[np.ndarray, np.ndarray]:
        """Which objects (N,) count and which are ignored; the others do not exist for this class."""
        of_class = self.truth_type == name.lower()
        hidden = (
            (self.truth.occluded > limits.max_occlusion)
            | (self.truth.truncated > limits.max_truncation)
            | (self.truth_height_px <= limits.min_height_px)
        )
        neighbour = self.truth_type == (NEIGHBOURS[name] or '').lower()
        return of_class & ~hidden, (of_class & hidden) | neighbour

    def curves(
        self, name: str, limits: Difficulty, counts: np.ndarray, takes: np.ndarray, space: str, least: float
    ) -> dict[str, np.ndarray]:
        """Best precision (41,) at each recall and beyond, and orientation similarity in the image; NaN if none counts.

        Args:
            name (str): Class.
            limits (Difficulty): For detections too small in the image.
            counts (np.ndarray): (N,) objects that count.
            takes (np.ndarray): (N,) objects that may take a detection.
            space (str): Where boxes overlap.
            least (float): A pair must overlap more.
        """
        statistics = ('AP', 'AOS') if space == '2d' else ('AP',)
        if not counts.any() or (space == '2d' and not self.has_boxes_px):
            return {statistic: np.full(RECALL_POSITIONS, math.nan) for statistic in statistics}
        small = self.found_height_px < limits.min_height_px
        valid = (self.found_type == name.lower()) & ~small
        truth, found, overlap = self.overlaps[space]
        kept = (overlap > least) & takes[truth] & (valid | small)[found]
        truth, found, overlap = truth[kept], found[kept], overlap[kept]
        frame = self.truth_frame[truth]
        score = self.found.score[found]
        hit = counts[truth] & valid[found]

        pair, _ = take_in_turn(frame, truth, found, score, np.ones((len(truth), 1), bool))
        thresholds = score_thresholds(score[pair[hit[pair]]], counts.sum())
        # Detections too small in the image come last, in their order.
        preference = np.where(valid[found], overlap, 0)
        pair, at = take_in_turn(frame, truth, found, preference, score[:, None] >= thresholds)

        def total(chosen: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
            """Sum over chosen pairs at each threshold."""
            weights = None if weights is None else weights[pair[chosen]]
            return np.bincount(at[chosen], weights, minlength=len(thresholds))

        hits = total(hit[pair])
        scored = valid.copy()
        if space == '2d':
            scored &= self.region_share <= least
        left = _at_least(self.found.score[scored], thresholds) - total(scored[found[pair]])
        curves = dict(AP=_ratio(hits, hits + left))
        if space == '2d':
            similarity = (1 + np.cos(self.truth.alpha[truth] - self.found.alpha[found])) / 2
            curves['AOS'] = _ratio(total(hit[pair], similarity), hits + left)
        return {statistic: _best_from_here(curve) for statistic, curve in curves.items()}


def take_in_turn(
    frame: np.ndarray, truth: np.ndarray, found: np.ndarray, preference: np.ndarray, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each object, in turn, takes the detection that it prefers among those no earlier object took.

    For all frames and thresholds at once: round r is the turn of the r-th object of every frame, and objects of one
    round cannot want the same detection.

    Args:
        frame (np.ndarray): (P,) frame of each pair that overlaps enough.
        truth (np.ndarray): (P,) its object; the objects of a frame follow each other, in their turn.
        found (np.ndarray): (P,) its detection; of equal ones the first is preferred.
        preference (np.ndarray): (P,) the higher the better.
        allowed (np.ndarray): (P, T) whether the detection exists at a threshold.

    Returns:
        tuple[np.ndarray, np.ndarray]: (A,) pair and (A,) threshold of each taking.
    """
    order = np.lexsort((found, -preference, truth))
    objects, starts = np.unique(truth[order], return_index=True)
    frames = frame[order][starts]
    turn = np.arange(len(objects)) - np.searchsorted(frames, frames)
    sizes = np.diff(np.append(starts, len(order)))
    detections, place = np.unique(found, return_inverse=True)
    free = np.ones((len(detections), allowed.shape[1]), bool)
    pairs, at = [np.zeros(0, int)], [np.zeros(0, int)]
    for this in range(turn.max(initial=-1) + 1):
        mine = np.flatnonzero(turn == this)
        first = np.cumsum(sizes[mine]) - sizes[mine]
        rows = order[np.arange(sizes[mine].sum()) + np.repeat(starts[mine] - first, sizes[mine])]
        possible = allowed[rows] & free[place[rows]]
        best = np.minimum.reduceat(np.where(possible, np.arange(len(rows))[:, None], len(rows)), first, axis=0)
        taker, threshold = np.nonzero(best < len(rows))
        taken = rows[best[taker, threshold]]
        free[place[taken], threshold] = False
        pairs.append(taken)
        at.append(threshold)
    return np.concatenate(pairs), np.concatenate(at)


def _joined(kind: type, frames: Sequence) -> KittiTruth | KittiDetections:
    """One of all frames' rows."""
    columns = {}
    for field in fields(kind):
        columns[field.name] = np.concatenate([getattr(frame, field.name) for frame in frames])
    columns['name'] = columns['name'].astype(str)
    return kind(**columns)


def _pairs(truth_frame: np.ndarray, found_frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All (object, detection) of one frame, from sorted frame numbers (N,) and (M,)."""
    first = np.searchsorted(truth_frame, found_frame, 'left')
    count = np.searchsorted(truth_frame, found_frame, 'right') - first
    before = np.cumsum(count) - count
    return np.arange(count.sum()) + np.repeat(first - before, count), np.repeat(np.arange(len(found_frame)), count)


def _overlap(
    truth: KittiTruth, truth_row: np.ndarray, found: KittiDetections, found_row: np.ndarray, space: str
) -> np.ndarray:
    """(P,) intersection over union of pairs."""
    if space == '2d':
        boxes, others = truth.box_px[truth_row], found.box_px[found_row]
        shared = _shared_px(boxes, others)
        return _ratio(shared, _area_px(boxes) + _area_px(others) - shared)
    upright = [_upright(kind.box_cam)[torch.from_numpy(row)] for kind, row in ((truth, truth_row), (found, found_row))]
    if space == '3d':
        return iou_3d(*upright).numpy()
    return bev_iou(*(boxes[:, [0, 1, 3, 4, 6]] for boxes in upright)).numpy()


def _upright(box_cam: np.ndarray) -> torch.Tensor:
    """Camera boxes (N, 7) for ``iou_3d``, in axes that point right, forward and up."""
    x, y, z, length, height, width, rotation_y = np.asarray(box_cam, float).T
    return torch.from_numpy(np.stack([x, z, -y, length, width, height, -rotation_y], 1))


def _shared_px(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    size = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2])
    return size.clip(min=0).prod(1)


def _area_px(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """0 where the whole is 0: nothing was detected there."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def _at_least(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many values reach each threshold."""
    return len(values) - np.searchsorted(np.sort(values), thresholds)


def _best_from_here(curve: np.ndarray) -> np.ndarray:
    """(T,) to (41,): the best at any later threshold, 0 after the last."""
    filled = np.zeros(RECALL_POSITIONS)
    filled[: len(curve)] = np.maximum.accumulate(curve[::-1])[::-1]
    return filled
