import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from mmdet3d.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from cleverdistiller.datasets.info_file import read_infos
from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_predictions import FrameDetections, write_detections
from cleverdistiller.evaluation.lidar_detections import lidar_detections
from cleverdistiller.evaluation.waymo_ap import (
    LEVELS,
    RANGES_M,
    STATISTICS,
    WaymoTruth,
    require_waymo_package,
    waymo_ap,
    write_objects,
)

PREPARE = 'tools/prepare_waymo.py'


@METRICS.register_module()
class WaymoAPMetric(BaseMetric):
    """Waymo's average precision by Waymo's own code; the rules are those of :mod:`cleverdistiller.evaluation.waymo_ap`.

    Unlike mmdet3d's ``WaymoMetric`` it needs no program built with bazel and no ``gt.bin``, and scores any subset of
    the frames of ``ann_file`` at any batch size.

    Reports ``{Car,Pedestrian,Cyclist,mean}/{AP,APH}/{L1,L2}`` from 0 to 1, the same with ``/[0, 30)``, ``/[30, 50)``
    and ``/[50, +inf)`` metres, NaN for a class without objects; ``CLASS/objects/LEVEL``, how many objects count; and
    ``frames``. The customary headline is ``mean/AP/L2``.

    Args:
        ann_file (str): Info file of ``tools/prepare_waymo.py`` with the boxes of the frames that are scored.
        predictions_file (str | None): Also write the detections there; see
            :mod:`cleverdistiller.evaluation.detection_predictions`.
        submission_file (str | None): Also write them there as Waymo's ``Objects``.
        **kwargs: For :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        InputError: If waymo_open_dataset is not installed, a prediction is not as it should be, of a frame that is not
            in ``ann_file`` or that came before, if frames are missing, or if nothing is labelled in the frames.
    """

    default_prefix = 'waymo'

    def __init__(
        self,
        ann_file: str,
        predictions_file: str | None = None,
        submission_file: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        require_waymo_package()  # rather now than after hours of testing
        self.ann_file = ann_file
        self.predictions_file = predictions_file
        self.submission_file = submission_file

    @cached_property
    def _truths(self) -> dict[str, WaymoTruth]:
        return read_waymo_truths(self.ann_file)

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        """Keep the boxes, scores and names of each frame."""
        for sample in data_samples:
            found = lidar_detections(sample, self.dataset_meta['classes'])
            if found.frame_id not in self._truths:
                raise InputError(
                    f'predictions for the frame {found.frame_id}, which is not in {self.ann_file}',
                    'the info file of the frames that are scored',
                    "set the evaluator's ann_file to that of its dataset",
                )
            self.results.append(found)

    def evaluate(self, size: int) -> dict[str, float]:
        """Score all frames together.

        Args:
            size (int): Frames of the set.
        """
        self.size = size
        return super().evaluate(size)

    def compute_metrics(self, results: list[FrameDetections]) -> dict[str, float]:
        """The scores of the detections of all ranks."""
        different = {found.frame_id for found in results}
        if len(results) != self.size or len(different) < self.size:
            raise InputError(
                f'{len(different)} frames with predictions of a set of {self.size}',
                'each frame exactly once',
                'a distributed sampler repeated some, or the info file lists some twice: set '
                "val_dataloader.sampler.round_up=False (and test_dataloader's), and leave drop_last off",
            )
        if self.predictions_file:
            write_detections(self.predictions_file, results)
        if self.submission_file:
            write_objects(self.submission_file, results)
        classes = self.dataset_meta['classes']
        numbers = waymo_ap([self._truths[found.frame_id] for found in results], results, classes)
        print_log(_table(numbers, classes), logger='current')
        return dict(frames=len(results), **numbers)


def read_waymo_truths(ann_file: str) -> dict[str, WaymoTruth]:
    """The objects of all frames of an info file.

    Args:
        ann_file (str): The ``.pkl``.

    Returns:
        dict[str, WaymoTruth]: By frame id.

    Raises:
        InputError: If it is missing, damaged or not of ``tools/prepare_waymo.py``: mmdet3d's own converter loses
            Waymo's levels of difficulty.
    """
    infos = read_infos(ann_file, PREPARE)
    names = {label: name for name, label in infos['metainfo'].get('categories', {}).items()}
    truths = {}
    try:
        for record in infos['data_list']:
            instances = record['instances']
            truths[record['frame_id']] = WaymoTruth(
                frame_id=record['frame_id'],
                boxes_lidar=np.array([each['bbox_3d'] for each in instances], np.float32).reshape(-1, 7),
                names=np.array([names[each['bbox_label_3d']] for each in instances], str),
                difficulty=np.array([each['difficulty'] for each in instances], np.uint8),
            )
    except (KeyError, TypeError) as error:
        raise InputError(
            f'{ann_file}, a frame of which lacks {error}', f'an info file of {PREPARE}', 'make it with that tool'
        ) from error
    return truths


def _table(numbers: Mapping[str, float], classes: Sequence[str]) -> str:
    width = max(map(len, (*classes, 'class')))
    columns = [f'{statistic}/L{level}' for level in LEVELS for statistic in STATISTICS]
    cells = ''.join(f'{column + " %":>9s}' for column in columns)
    lines = ['', f'{"class":{width}s} {"range, m":12s}{cells}{"objects":>10s}']
    for name in (*classes, 'mean'):
        for where in RANGES_M:
            cells = ''.join(f'{_percent(numbers[f"{name}/{column}{where}"]):>9s}' for column in columns)
            count = '' if where or name == 'mean' else f'{numbers[f"{name}/objects/L2"]:,d}'
            lines.append(f'{name:{width}s} {where.removeprefix("/") or "all":12s}{cells}{count:>10s}')
    return '\n'.join(lines)


def _percent(value: float) -> str:
    return '-' if math.isnan(value) else f'{100 * value:.2f}'
