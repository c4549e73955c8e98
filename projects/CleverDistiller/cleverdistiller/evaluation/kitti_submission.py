from collections.abc import Sequence
from functools import cached_property

from mmdet3d.registry import METRICS

from cleverdistiller.evaluation.kitti_ap import KittiDetections
from cleverdistiller.evaluation.kitti_frame import KEPT_RANGE_M, KittiFrame, read_kitti_frames
from cleverdistiller.evaluation.lidar_detections import frame_of, lidar_detections
from cleverdistiller.evaluation.submission import Submission
from cleverdistiller.fileio import replace_when_complete


@METRICS.register_module()
class KittiSubmission(Submission):
    """Detections as KITTI's object benchmark wants them: ``000123.txt`` in the root of the archive.

    A row is type, -1 -1 (truncation and occlusion, which are not predicted), alpha, box in the image, height, width,
    length, x, y, z and rotation in the camera frame, score. Frames without detections get an empty file.

    Args:
        ann_file (str): Info file of the set that is predicted, for its calibration; needs no labels.
        out_dir (str): Folder to fill.
        range_m (Sequence[float] | None): See :meth:`KittiFrame.in_camera`.
        **kwargs: See :class:`Submission`.

    Raises:
        InputError: If a prediction is not as it should be or of a frame that is not in ``ann_file``.
    """

    def __init__(self, ann_file: str, out_dir: str, range_m: Sequence[float] | None = KEPT_RANGE_M, **kwargs) -> None:
        super().__init__(out_dir, **kwargs)
        self.ann_file = ann_file
        self.range_m = range_m

    @cached_property
    def _frames(self) -> dict[str, KittiFrame]:
        return read_kitti_frames(self.ann_file)

    def write_frame(self, sample: dict) -> str:
        """Write a row for each detection; returns the file's name."""
        found = lidar_detections(sample, self.dataset_meta['classes'])
        frame = frame_of(self._frames, found.frame_id, self.ann_file)
        name = f'{found.frame_id}.txt'
        with replace_when_complete(self.out_dir / name) as temporary:
            temporary.write_text(''.join(label_rows(frame.in_camera(found, self.range_m))))
        return name


def label_rows(found: KittiDetections) -> list[str]:
    """The lines of a result file, in the benchmark's order of numbers."""
    rows = []
    for name, alpha, box_px, box_cam, score in zip(found.name, found.alpha, found.box_px, found.box_cam, found.score):
        x, y, z, length, height, width, rotation_y = box_cam
        numbers = (alpha, *box_px, height, width, length, x, y, z, rotation_y)
        # Six digits for the score: rounded scores would tie, and ties change the thresholds.
        rows.append(f'{name} -1 -1 {" ".join(f"{number:.4f}" for number in numbers)} {score:.6f}\n')
    return rows
