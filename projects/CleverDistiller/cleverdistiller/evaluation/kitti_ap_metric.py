from collections.abc import Mapping, Sequence

from mmdet3d.registry import METRICS

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_metric import DetectionMetric, percent
from cleverdistiller.evaluation.detection_predictions import FrameDetections
from cleverdistiller.evaluation.kitti_ap import DIFFICULTIES, RECALL_POSITIONS, kitti_ap
from cleverdistiller.evaluation.kitti_frame import KEPT_RANGE_M, KittiFrame, read_kitti_frames

PREFIXES = dict(official='kitti', loose='kitti_loose')
ROWS = {'3d': '3d/AP', 'bev': 'bev/AP', '2d': '2d/AP', 'AOS': '2d/AOS'}  # of the printed table


@METRICS.register_module()
class KittiAPMetric(DetectionMetric):
    """KITTI's average precision on any machine; the rules are those of :mod:`cleverdistiller.evaluation.kitti_ap`.

    Unlike mmdet3d's ``KittiMetric`` it needs no GPU, scores any subset of the frames of ``ann_file``, knows frames by
    KITTI's names, and refuses a set without objects instead of scoring it.

    Reports ``{Car,Pedestrian,Cyclist,mean}/{3d,bev,2d}/AP_{R40,R11}/{easy,moderate,hard}`` and ``.../2d/AOS_...``, from
    0 to 1, NaN for a class without objects; ``CLASS/objects/DIFFICULTY``, how many objects count; and ``frames``.
    The customary headline is ``mean/3d/AP_R40/moderate``.

    Args:
        ann_file (str): See :class:`DetectionMetric`.
        min_overlaps (str): ``official``, or ``loose`` for the second set of thresholds that mmdet3d prints; its
            numbers get the prefix ``kitti_loose``.
        range_m (Sequence[float] | None): See :meth:`KittiFrame.in_camera`.
        prefix (str | None): Before the names; None for ``kitti`` or ``kitti_loose``.
        **kwargs: For :class:`DetectionMetric` (``predictions_file``).

    Raises:
        InputError: As :class:`DetectionMetric`, and if nothing is labelled in the frames.
    """

    def __init__(
        self,
        ann_file: str,
        min_overlaps: str = 'official',
        range_m: Sequence[float] | None = KEPT_RANGE_M,
        prefix: str | None = None,
        **kwargs,
    ) -> None:
        if min_overlaps not in PREFIXES:
            raise InputError(f'min_overlaps={min_overlaps!r}', f'one of {tuple(PREFIXES)}', 'choose one of them')
        super().__init__(ann_file, prefix=prefix or PREFIXES[min_overlaps], **kwargs)
        self.min_overlaps = min_overlaps
        self.range_m = range_m

    def read_frames(self) -> dict[str, KittiFrame]:
        """Labels and calibrations."""
        return read_kitti_frames(self.ann_file)

    def score(self, detections: Sequence[FrameDetections], classes: Sequence[str]) -> dict[str, float]:
        """See :func:`kitti_ap`."""
        frames = [self.frames[found.frame_id] for found in detections]
        if not any(len(frame.truth.name) for frame in frames):
            raise InputError(
                f'{len(frames)} predicted frames without one label in {self.ann_file}',
                'a labelled set',
                'evaluate on the val split; for the test server set test_evaluator to KittiSubmission',
            )
        in_camera = [frame.in_camera(found, self.range_m) for frame, found in zip(frames, detections)]
        return kitti_ap([frame.truth for frame in frames], in_camera, classes, self.min_overlaps)

    def table(self, numbers: Mapping[str, float], classes: Sequence[str]) -> str:
        """A row for each class and overlap."""
        width = max(map(len, (*classes, 'class')))
        levels = ''.join(f'{level:>9s}' for level in DIFFICULTIES)
        lines = ['', f'{"":{width + 8}s}{"R40 %":>18s}{"R11 %":>27s}', f'{"class":{width + 8}s}{levels}{levels}']
        for name in (*classes, 'mean'):
            for title, statistic in ROWS.items():
                cells = [
                    percent(numbers[f'{name}/{statistic}_{points}/{level}'])
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
