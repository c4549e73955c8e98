import math
from collections.abc import Mapping, Sequence
from functools import cached_property

from mmdet3d.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_predictions import FrameDetections, write_detections
from cleverdistiller.evaluation.kitti_ap import DIFFICULTIES, RECALL_POSITIONS, kitti_ap
from cleverdistiller.evaluation.kitti_frame import KEPT_RANGE_M, KittiFrame, kitti_frame, read_kitti_frames
from cleverdistiller.evaluation.lidar_detections import lidar_detections

PREFIXES = dict(official='kitti', loose='kitti_loose')
ROWS = {'3d': '3d/AP', 'bev': 'bev/AP', '2d': '2d/AP', 'AOS': '2d/AOS'}  # of the printed table


@METRICS.register_module()
class KittiAPMetric(BaseMetric):
    """KITTI's average precision on any machine; the rules are those of :mod:`cleverdistiller.evaluation.kitti_ap`.

    Unlike mmdet3d's ``KittiMetric`` it needs no GPU, scores any subset of the frames of ``ann_file``, knows frames by
    KITTI's names, and refuses a set without objects instead of scoring it.

    Reports ``{Car,Pedestrian,Cyclist,mean}/{3d,bev,2d}/AP_{R40,R11}/{easy,moderate,hard}`` and ``.../2d/AOS_...``, from
    0 to 1, NaN for a class without objects; ``CLASS/objects/DIFFICULTY``, how many objects count; and ``frames``.
    The customary headline is ``mean/3d/AP_R40/moderate``.

    Args:
        ann_file (str): Info file with the labels of the frames that are scored.
        min_overlaps (str): ``official``, or ``loose`` for the second set of thresholds that mmdet3d prints; its
            numbers get the prefix ``kitti_loose``.
        range_m (Sequence[float] | None): See :meth:`KittiFrame.in_camera`.
        predictions_file (str | None): Also write the detections there; see
            :mod:`cleverdistiller.evaluation.detection_predictions`.
        prefix (str | None): Before the names; None for ``kitti`` or ``kitti_loose``.
        **kwargs: For :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        InputError: If a prediction is not as it should be, of a frame that is not in ``ann_file``, if not
            every frame came exactly once, or if nothing is labelled in the frames.
    """

    def __init__(
        self,
        ann_file: str,
        min_overlaps: str = 'official',
        range_m: Sequence[float] | None = KEPT_RANGE_M,
        predictions_file: str | None = None,
        prefix: str | None = None,
        **kwargs,
    ) -> None:
        if min_overlaps not in PREFIXES:
            raise InputError(f'min_overlaps={min_overlaps!r}', f'one of {tuple(PREFIXES)}', 'choose one of them')
        super().__init__(prefix=prefix or PREFIXES[min_overlaps], **kwargs)
        self.ann_file = ann_file
        self.min_overlaps = min_overlaps
        self.range_m = range_m
        self.predictions_file = predictions_file

    @cached_property
    def _frames(self) -> dict[str, KittiFrame]:
        return read_kitti_frames(self.ann_file)

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        """Keep the boxes, scores and names of each frame."""
        for sample in data_samples:
            found = lidar_detections(sample, self.dataset_meta['classes'])
            kitti_frame(self._frames, found.frame_id, self.ann_file)
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
                'the info file lists some twice, a sampler repeated some, or drop_last left some out: mend that',
            )
        frames = [self._frames[found.frame_id] for found in results]
        if not any(len(frame.truth.name) for frame in frames):
            raise InputError(
                f'{len(frames)} predicted frames without one label in {self.ann_file}',
                'a labelled set',
                'evaluate on the val split; for the test server set test_evaluator to KittiSubmission',
            )
        if self.predictions_file:
            write_detections(self.predictions_file, results)
        classes = self.dataset_meta['classes']
        numbers = kitti_ap(
            [frame.truth for frame in frames],
            [frame.in_camera(found, self.range_m) for frame, found in zip(frames, results)],
            classes,
            self.min_overlaps,
        )
        print_log(_table(numbers, classes), logger='current')
        return dict(frames=len(frames), **numbers)


def _table(numbers: Mapping[str, float], classes: Sequence[str]) -> str:
    width = max(map(len, (*classes, 'class')))
    levels = ''.join(f'{level:>9s}' for level in DIFFICULTIES)
    lines = ['', f'{"":{width + 8}s}{"R40 %":>18s}{"R11 %":>27s}', f'{"class":{width + 8}s}{levels}{levels}']
    for name in (*classes, 'mean'):
        for title, statistic in ROWS.items():
            cells = [
                _percent(numbers[f'{name}/{statistic}_{points}/{level}'])
                for points in ('R40', 'R11')
                for level in DIFFICULTIES
            ]
            lines.append(_row(name, title, cells, width))
        if name != 'mean':
            counts = [numbers[f'{name}/objects/{level}'] for level in DIFFICULTIES]
            lines.append(_row(name, 'objects', [f'{count:,d}' for count in counts], width))
            if 0 < min(counts) < RECALL_POSITIONS:
                lines.append('  with n < 41 objects AP_R40 cannot exceed (n - 1) / 40')
    return '\n'.join(lines)


def _row(name: str, title: str, cells: Sequence[str], width: int) -> str:
    return f'{name:{width}s} {title:7s}' + ''.join(f'{cell:>9s}' for cell in cells)


def _percent(value: float) -> str:
    return '-' if math.isnan(value) else f'{100 * value:.2f}'
