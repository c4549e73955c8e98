import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_predictions import FrameDetections, write_detections
from cleverdistiller.evaluation.lidar_detections import frame_of, lidar_detections


class DetectionMetric(BaseMetric):
    """Base of the average precisions: all frames of a set, known by their names, scored together.

    Reports what :meth:`score` returns, and ``frames``.

    Args:
        ann_file (str): Info file with the labels of the frames that are scored.
        predictions_file (str | None): Also write the detections there; see
            :mod:`cleverdistiller.evaluation.detection_predictions`.
        **kwargs: For :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        InputError: If a prediction is not as it should be, of a frame that is not in ``ann_file``, or if not every
            frame came exactly once.
    """

    def __init__(self, ann_file: str, predictions_file: str | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.ann_file = ann_file
        self.predictions_file = predictions_file

    @abstractmethod
    def read_frames(self) -> Mapping[str, Any]:
        """What is known of each frame of ``ann_file``, by its name."""

    @abstractmethod
    def score(self, detections: Sequence[FrameDetections], classes: Sequence[str]) -> dict[str, float]:
        """The benchmark's numbers for the detections, one a frame."""

    @abstractmethod
    def table(self, numbers: Mapping[str, float], classes: Sequence[str]) -> str:
        """Them to be read in the log."""

    @cached_property
    def frames(self) -> Mapping[str, Any]:
        """See :meth:`read_frames`."""
        return self.read_frames()

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        """Keep the boxes, scores and names of each frame."""
        for sample in data_samples:
            found = lidar_detections(sample, self.dataset_meta['classes'])
            frame_of(self.frames, found.frame_id, self.ann_file)
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
        classes = self.dataset_meta['classes']
        numbers = self.score(results, classes)
        print_log(self.table(numbers, classes), logger='current')
        return dict(frames=len(results), **numbers)


def percent(value: float) -> str:
    """A share as tables show it; a dash for NaN."""
    return '-' if math.isnan(value) else f'{100 * value:.2f}'
