"""Waymo's average precision, by Waymo's own code in this process: no bazel, no program to call.

The rules are those of ``compute_detection_metrics_main`` of waymo_open_dataset: for each class and level of difficulty

1. an object counts at level 1 or 2. What labellers set decides, or else its LiDAR points: at most five are level 2. An
   object without a point does not exist. Level 2 takes in level 1;
2. detections at or above a score, for 101 scores from 0 to 1, are matched with objects of their class so that the sum
   of overlaps in 3D is largest (Hungarian), among pairs that overlap by 0.7 (cars) or 0.5 (others) and more;
3. a detection that is matched is a hit, at level 1 also if its object is of level 2; an object that is not matched is
   missed at its level and above; AP is the area below precision over recall;
4. APH weighs each hit by 1 - (error of the heading) / pi.

Overall numbers are means over the classes. Ranges are of the distance from the car to the middle of the box.

One thing differs from what Waymo's operator gives: where no object of a class counts at a level and in a range, its AP
and APH are NaN here. There they are 0, or, at level 1 where objects of level 2 alone are found, up to 1, as found ones
are hits at both levels. Either is a score where there was nothing to find, and would move the mean of a subset of
frames for what the subset lacks; such a class is no part of the mean. :func:`official_metrics` has the operator's own
numbers.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.class_means import class_means
from cleverdistiller.evaluation.detection_predictions import FrameDetections
from cleverdistiller.fileio import replace_when_complete

TYPES = dict(Car=1, Pedestrian=2, Cyclist=4)  # Label.Type: TYPE_VEHICLE, ...
LEVELS = (1, 2)
RANGES_M = {'': (0, math.inf), '/[0, 30)': (0, 30), '/[30, 50)': (30, 50), '/[50, +inf)': (50, math.inf)}
STATISTICS = ('AP', 'APH')
SCORE_CUTOFFS = [cutoff / 100 for cutoff in range(101)]
MIN_OVERLAPS = (0, 0.7, 0.5, 0.5, 0.5)  # by Label.Type


@dataclass(frozen=True)
class WaymoTruth:
    """The objects of a frame.

    Args:
        frame_id (str): ``CONTEXT/MICROSECONDS``.
        boxes_lidar (np.ndarray): (N, 7) x, y, z of the middle of the bottom, length, width, height in metres, yaw.
        names (np.ndarray): (N,) out of ``TYPES``.
        difficulty (np.ndarray): (N,) 1 or 2.

    Raises:
        InputError: If lengths differ, a number is not finite, a class is unknown, or a difficulty is neither 1 nor 2.
    """

    frame_id: str
    boxes_lidar: np.ndarray
    names: np.ndarray
    difficulty: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.names)
        problem = None
        if self.boxes_lidar.shape != (count, 7) or self.difficulty.shape != (count,):
            problem = f'{len(self.boxes_lidar)} boxes, {count} names and {len(self.difficulty)} difficulties'
        elif not np.isfinite(self.boxes_lidar).all():
            problem = 'boxes that are NaN or infinite'
        elif strangers := set(self.names.tolist()) - TYPES.keys():
            problem = f'objects of the classes {sorted(strangers)}'
        elif strangers := set(self.difficulty.tolist()) - set(LEVELS):
            problem = f'the difficulties {sorted(strangers)}'
        if problem:
            raise InputError(
                f'frame {self.frame_id} with {problem}',
                f'for each object a box, one of {tuple(TYPES)}, and difficulty 1 or 2',
                'make the info file again with tools/prepare_waymo.py',
            )


def waymo_ap(
    truths: Sequence[WaymoTruth], detections: Sequence[FrameDetections], classes: Sequence[str] = tuple(TYPES)
) -> dict[str, float]:
    """Every number of the benchmark for a set of frames.

    Whether a detection lies in a no-label zone is not told to Waymo's code: ``tools/prepare_waymo.py`` leaves out the
    points there.

    Args:
        truths (Sequence[WaymoTruth]): One a frame; those without objects belong in it.
        detections (Sequence[FrameDetections]): One a frame, in any order; those without detections belong in it.
        classes (Sequence[str]): Out of ``TYPES``.

    Returns:
        dict[str, float]: ``CLASS/STATISTIC/LEVEL`` and ``CLASS/STATISTIC/LEVEL/RANGE`` with STATISTIC ``AP`` or
        ``APH``, LEVEL ``L1`` or ``L2`` and RANGE ``[0, 30)``, ``[30, 50)`` or ``[50, +inf)`` metres, from 0 to 1, or
        NaN where no object counts; CLASS ``mean`` is the mean over the classes with objects. ``CLASS/objects/LEVEL``
        is how many objects count.

    Raises:
        InputError: If a class is unknown, if there is not one WaymoTruth and one FrameDetections for each frame, if a
            score is not in 0..1, if no object counts, or if waymo_open_dataset is not installed.
    """
    if unknown := set(classes) - TYPES.keys():
        raise InputError(f'the classes {sorted(unknown)}', f'classes out of {tuple(TYPES)}', 'score those alone')
    _refuse_unequal_frames([truth.frame_id for truth in truths], [found.frame_id for found in detections])
    number = {truth.frame_id: row for row, truth in enumerate(truths)}
    objects = {
        'bbox': _middle_boxes([truth.boxes_lidar for truth in truths]),
        'type': _types([truth.names for truth in truths]),
        'frame_id': np.repeat(np.arange(len(truths)), [len(truth.names) for truth in truths]),
        'difficulty': np.concatenate([np.zeros(0), *(truth.difficulty for truth in truths)]).astype(np.uint8),
    }
    scores = np.concatenate([np.zeros(0), *(found.scores for found in detections)]).astype(np.float32)
    if len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
        raise InputError(
            f'scores from {scores.min()} to {scores.max()}',
            'scores from 0 to 1',
            'let the head end in a sigmoid',
        )
    predictions = {
        'bbox': _middle_boxes([found.boxes_lidar for found in detections]),
        'type': _types([found.names for found in detections]),
        'score': scores,
        'frame_id': np.repeat([number[found.frame_id] for found in detections], [len(f.scores) for f in detections]),
        'overlap_nlz': np.zeros(len(scores), bool),
    }
    counts = _counts(objects, classes)
    if not any(counts.values()):
        raise InputError(
            f'{len(truths)} frames without one object of {tuple(classes)}',
            'ground truth to score against',
            'check that the frames are those of a labelled split',
        )
    measured = official_metrics(predictions, objects)
    numbers = {}
    for name in classes:
        for level in LEVELS:
            numbers[f'{name}/objects/L{level}'] = counts[name, level, '']
            for where in RANGES_M:
                of_shard = measured[TYPES[name], level, where] if counts[name, level, where] else (math.nan, math.nan)
                for statistic, value in zip(STATISTICS, of_shard):
                    numbers[f'{name}/{statistic}/L{level}{where}'] = value
    return {**numbers, **class_means(numbers, classes)}


def official_metrics(
    predictions: Mapping[str, np.ndarray], objects: Mapping[str, np.ndarray]
) -> dict[tuple[int, int, str], tuple[float, float]]:
    """Call Waymo's operator as its command-line program does.

    Args:
        predictions (Mapping[str, np.ndarray]): M rows of ``bbox`` (7,) with z in the middle, ``type``, ``score``,
            ``frame_id`` and ``overlap_nlz``.
        objects (Mapping[str, np.ndarray]): N rows of ``bbox``, ``type``, ``frame_id`` and ``difficulty``.

    Returns:
        dict[tuple[int, int, str], tuple[float, float]]: AP and APH by type, level and range (``''`` for all).

    Raises:
        InputError: See :func:`require_waymo_package`.
    """
    require_waymo_package()
    # Here, because it imports TensorFlow, which takes ten seconds and nobody else needs.
    from waymo_open_dataset.metrics.ops import py_metrics_ops
    from waymo_open_dataset.metrics.python import config_util_py

    config = official_config()
    inputs = {f'prediction_{key}': rows for key, rows in predictions.items()}
    inputs |= {f'ground_truth_{key}': rows for key, rows in objects.items()}
    ap, aph, *_ = py_metrics_ops.detection_metrics(**inputs, config=config.SerializeToString())
    by_name = dict(zip(config_util_py.get_breakdown_names_from_config(config), zip(ap.numpy(), aph.numpy())))
    return {
        # Means of float32 recalls come out as 1.0000001.
        (kind, level, where): tuple(min(float(value), 1.0) for value in by_name[name])
        for kind, level, where, name in _shards()
    }


def official_config():
    """Waymo's settings (``waymo_open_dataset.protos.metrics_pb2.Config``), as its server has them."""
    from waymo_open_dataset.label_pb2 import Label
    from waymo_open_dataset.protos.breakdown_pb2 import Breakdown
    from waymo_open_dataset.protos.metrics_pb2 import Config, Difficulty, MatcherProto

    generators = (Breakdown.OBJECT_TYPE, Breakdown.RANGE)
    return Config(
        breakdown_generator_ids=generators,
        difficulties=[Difficulty(levels=LEVELS) for _ in generators],
        matcher_type=MatcherProto.TYPE_HUNGARIAN,
        iou_thresholds=MIN_OVERLAPS,
        box_type=Label.Box.TYPE_3D,
        score_cutoffs=SCORE_CUTOFFS,
    )


def require_waymo_package() -> None:
    """Refuse to start what would fail at its end.

    Raises:
        InputError: If waymo_open_dataset is not installed.
    """
    if find_spec('waymo_open_dataset') is None:
        raise InputError(
            'an environment without waymo_open_dataset',
            "Waymo's package, whose code scores",
            'pip install waymo-open-dataset-tf-2-12-0',
        )


def write_objects(path: str | Path, detections: Sequence[FrameDetections]) -> None:
    """Write detections as Waymo's own tools and its server read them (``metrics_pb2.Objects``).

    Args:
        path (str | Path): The file, such as ``predictions.bin``.
        detections (Sequence[FrameDetections]): One a frame, with ids ``CONTEXT/MICROSECONDS``.

    Raises:
        InputError: See :func:`require_waymo_package`.
    """
    require_waymo_package()
    from waymo_open_dataset.label_pb2 import Label
    from waymo_open_dataset.protos.metrics_pb2 import Objects

    objects = Objects()
    keys = ('center_x', 'center_y', 'center_z', 'length', 'width', 'height', 'heading')
    for found in detections:
        context, micros = found.frame_id.split('/')
        for box, score, name in zip(_middle_boxes([found.boxes_lidar]), found.scores, found.names):
            label = Label(box=Label.Box(**dict(zip(keys, box.tolist()))), type=TYPES[str(name)])
            objects.objects.add(
                object=label, score=float(score), context_name=context, frame_timestamp_micros=int(micros)
            )
    with replace_when_complete(path) as temporary:
        temporary.write_bytes(objects.SerializeToString())


def _shards() -> Iterator[tuple[int, int, str, str]]:
    """Type, level, range and Waymo's name of each number that is asked for."""
    from waymo_open_dataset.label_pb2 import Label

    for kind in TYPES.values():
        for level in LEVELS:
            for where in RANGES_M:
                generator = 'RANGE' if where else 'OBJECT_TYPE'
                shard = f'{Label.Type.Name(kind)}{where.replace("/", "_")}'
                yield kind, level, where, f'{generator}_{shard}_{Label.DifficultyLevel.Name(level)}'


def _counts(objects: Mapping[str, np.ndarray], classes: Sequence[str]) -> dict[tuple[str, int, str], int]:
    """How many objects count, by class, level and range."""
    distance_m = np.linalg.norm(objects['bbox'][:, :3], axis=1)
    return {
        (name, level, where): int(
            np.count_nonzero(
                (objects['type'] == TYPES[name])
                & (objects['difficulty'] <= level)
                & (distance_m >= nearest)
                & (distance_m < farthest)
            )
        )
        for name in classes
        for level in LEVELS
        for where, (nearest, farthest) in RANGES_M.items()
    }


def _middle_boxes(frames: Sequence[np.ndarray]) -> np.ndarray:
    """(M, 7) float32 boxes of all frames, with z in the middle, as Waymo has it."""
    boxes = np.concatenate([np.zeros((0, 7)), *frames]).astype(np.float32)
    boxes[:, 2] += boxes[:, 5] / 2
    return boxes


def _types(frames: Sequence[np.ndarray]) -> np.ndarray:
    names = [name for frame in frames for name in frame.tolist()]
    if unknown := set(names) - TYPES.keys():
        raise InputError(
            f'detections of the classes {sorted(unknown)}',
            f'classes out of {tuple(TYPES)}',
            "set metainfo.classes of the dataset to Waymo's",
        )
    return np.array([TYPES[name] for name in names], np.uint8)


def _refuse_unequal_frames(truths: Sequence[str], detections: Sequence[str]) -> None:
    for ids, what in ((truths, 'ground truth'), (detections, 'detections')):
        if len(set(ids)) < len(ids):
            twice = Counter(ids).most_common(1)[0][0]
            raise InputError(f'{what} of the frame {twice} twice', 'each frame once', 'check the info file')
    if missing := sorted(set(truths) ^ set(detections)):
        raise InputError(
            f'{len(missing)} frames with either ground truth or detections, such as {missing[0]}',
            'both for each frame',
            'give frames without detections an empty FrameDetections',
        )
