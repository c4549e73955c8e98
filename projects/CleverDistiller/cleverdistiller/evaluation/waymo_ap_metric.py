from collections.abc import Mapping, Sequence

import numpy as np
from mmdet3d.registry import METRICS

from cleverdistiller.datasets.info_file import read_infos
from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_metric import DetectionMetric, percent
from cleverdistiller.evaluation.detection_predictions import FrameDetections
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
class WaymoAPMetric(DetectionMetric):
    """Waymo's average precision by Waymo's own code; the rules are those of :mod:`cleverdistiller.evaluation.waymo_ap`.

    Unlike mmdet3d's ``WaymoMetric`` it needs no program built with bazel and no ``gt.bin``, and scores any subset of
    the frames of ``ann_file`` at any batch size.

    Reports ``{Car,Pedestrian,Cyclist,mean}/{AP,APH}/{L1,L2}`` from 0 to 1, the same with ``/[0, 30)``, ``/[30, 50)``
    and ``/[50, +inf)`` metres, NaN where a class has no objects (Waymo's operator: mostly 0);
    ``CLASS/objects/LEVEL``, how many objects count; and ``frames``. The customary headline is ``mean/AP/L2``.

    Args:
        ann_file (str): Info file of ``tools/prepare_waymo.py`` with the boxes of the frames that are scored.
        submission_file (str | None): Also write the detections there as Waymo's ``Objects``.
        **kwargs: For :class:`DetectionMetric` (``predictions_file``).

    Raises:
        InputError: As :class:`DetectionMetric`, if waymo_open_dataset is not installed, or if nothing is labelled in
            the frames.
    """

    default_prefix = 'waymo'

    def __init__(self, ann_file: str, submission_file: str | None = None, **kwargs) -> None:
        super().__init__(ann_file, **kwargs)
        require_waymo_package()  # rather now than after hours of testing
        self.submission_file = submission_file

    def read_frames(self) -> dict[str, WaymoTruth]:
        """Objects."""
        return read_waymo_truths(self.ann_file)

    def score(self, detections: Sequence[FrameDetections], classes: Sequence[str]) -> dict[str, float]:
        """See :func:`waymo_ap`."""
        if self.submission_file:
            write_objects(self.submission_file, detections)
        return waymo_ap([self.frames[found.frame_id] for found in detections], detections, classes)

    def table(self, numbers: Mapping[str, float], classes: Sequence[str]) -> str:
        """A row for each class and range."""
        width = max(map(len, (*classes, 'class')))
        columns = [f'{statistic}/L{level}' for level in LEVELS for statistic in STATISTICS]
        cells = ''.join(f'{column + " %":>9s}' for column in columns)
        lines = ['', f'{"class":{width}s} {"range, m":12s}{cells}{"objects":>10s}']
        for name in (*classes, 'mean'):
            for where in RANGES_M:
                cells = ''.join(f'{percent(numbers[f"{name}/{column}{where}"]):>9s}' for column in columns)
                count = '' if where or name == 'mean' else f'{numbers[f"{name}/objects/L2"]:,d}'
                lines.append(f'{name:{width}s} {where.removeprefix("/") or "all":12s}{cells}{count:>10s}')
        return '\n'.join(lines)


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
