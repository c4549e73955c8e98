import numpy as np
import torch
from mmdet3d.registry import METRICS
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.segmentation import (
    ABSENT,
    confusion_matrix,
    mean_iou,
    per_class_iou,
    per_class_recall,
)


@METRICS.register_module()
class SafeSegMetric(BaseMetric):
    """mIoU and every class's IoU over a whole set, in memory that does not grow with it.

    One (K, K) confusion matrix is all that is kept, so Waymo's predictions fit. Equals nuscenes-devkit's lidarseg
    evaluator, and with ``absent='zero'`` SemanticKITTI's API. Unlike mmdet3d's ``SegMetric``, a prediction out of
    range is an error, and so are frames that were counted twice.

    Reports ``miou``, ``accuracy`` (of points), ``mean_accuracy`` (of classes that are there) and ``iou/CLASS``, which
    is NaN for a class that is neither there nor predicted, or 0 with ``absent='zero'``.

    Args:
        absent (str): See :func:`cleverdistiller.evaluation.segmentation.mean_iou`.
        **kwargs: For :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        InputError: If a frame has no labels or other than one prediction of 0..K-1 for each, if no point of the set
            has a label, or if not every frame came exactly once.
    """

    default_prefix = 'seg'

    def __init__(self, absent: str = 'skip', **kwargs) -> None:
        super().__init__(**kwargs)
        if absent not in ABSENT:
            raise InputError(f'absent={absent!r}', f'one of {ABSENT}', 'set the metric up with one of them')
        self.absent = absent
        self._reset()

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        """Count the points of ``pred_pts_seg`` and ``eval_ann_info`` and forget them."""
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            name = f'frame {sample.get("frame_id")} ({sample.get("lidar_path")})'
            truth = sample.get('eval_ann_info', {}).get('pts_semantic_mask')
            if truth is None:
                raise InputError(
                    f'{name} without labels',
                    'labels for every frame that is scored',
                    'put LoadPointLabels into the pipeline; for a test set without labels, replace the evaluator by '
                    'a submission (NuScenesSegSubmission, SemanticKittiSegSubmission)',
                )
            prediction = sample['pred_pts_seg']['pts_semantic_mask'].cpu().numpy()
            try:
                self.confusion = self.confusion + confusion_matrix(truth, prediction, num_classes)
            except ValueError as error:
                raise InputError(
                    f'{name} with {error}',
                    f'one class from 0 to {num_classes - 1} for each of its {len(truth)} points',
                    'set model.num_classes to the number of classes of the dataset, and let no transform of the test '
                    'pipeline drop points after LoadPointLabels',
                ) from error
            self.frames += 1

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum over all ranks, print the table, and start anew.

        Args:
            size (int): Frames of the set.

        Returns:
            dict[str, float]: The same on every rank.
        """
        confusion = torch.from_numpy(np.zeros([len(self.dataset_meta['classes'])] * 2, np.int64) + self.confusion)
        frames = torch.tensor(self.frames)
        self._reset()
        all_reduce(confusion)
        all_reduce(frames)
        if frames != size:
            raise InputError(
                f'{frames} scored frames of a set of {size}',
                'each frame exactly once',
                'a distributed sampler repeated some: set val_dataloader.sampler.round_up=False (and '
                "test_dataloader's), and leave drop_last off",
            )
        numbers = self.compute_metrics(confusion.numpy())
        return {f'{self.prefix}/{name}': value for name, value in numbers.items()}

    def compute_metrics(self, results: np.ndarray) -> dict[str, float]:
        """The scores of a (K, K) confusion matrix."""
        if not results.any():
            raise InputError(
                'a set without one labelled point',
                'labels of the classes that are scored',
                'check that its info file names the right label files (a test set has none)',
            )
        iou = per_class_iou(results)
        if self.absent == 'zero':
            iou = np.nan_to_num(iou)
        classes = self.dataset_meta['classes']
        miou = mean_iou(iou, self.absent)
        print_log(_table(classes, iou, results.sum(1), miou), logger='current')
        return dict(
            miou=miou,
            accuracy=float(np.trace(results) / results.sum()),
            mean_accuracy=float(np.nanmean(per_class_recall(results))),
            **{f'iou/{name}': float(value) for name, value in zip(classes, iou)},
        )

    def _reset(self) -> None:
        self.confusion: np.ndarray | int = 0
        self.frames = 0


def _table(classes: tuple[str, ...], iou: np.ndarray, points: np.ndarray, miou: float) -> str:
    width = max(map(len, classes))
    rows = [
        f'{name:{width}s} {"-" if np.isnan(value) else f"{100 * value:.2f}":>7s} {count:15,d}'
        for name, value, count in zip(classes, iou, points)
    ]
    header = f'{"class":{width}s} {"IoU %":>7s} {"points":>15s}'
    return '\n'.join(['', header, *rows, f'{"mean":{width}s} {100 * miou:7.2f} {points.sum():15,d}'])
