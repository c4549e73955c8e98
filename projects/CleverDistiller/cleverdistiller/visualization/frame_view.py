"""One frame of any dataset, as far as a picture of it needs."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from cleverdistiller.errors import InputError
from cleverdistiller.visualization.camera_view import CameraView

UNLABELLED = 'unlabelled'


@dataclass(frozen=True)
class FrameView:
    """Pictures, points, labels and boxes of one moment.

    Args:
        title (str): Dataset and frame.
        camera_rows (tuple[tuple[CameraView, ...], ...]): The pictures as they are to be laid out, row by row.
        points_lidar_m (np.ndarray): (N, 3) in the frame that the dataset stores points in, which is the LiDAR's; for
            Waymo the car's.
        labels (np.ndarray | None): (N,) integers, rows of ``class_names``, -1 where a point has no label; None if the
            frame has no labels at all.
        class_names (tuple[str, ...]): Of the dataset.
        boxes_lidar_m (np.ndarray): (M, 7) middle x, y, z, length, width, height, and heading in radians from x to y,
            in the frame of the points.
        box_names (tuple[str, ...]): M types.
        ahead_yaw (float): Where the car's front looks in the frame of the points, radians from x to y.
        simulated (bool): Made by tools/simulate.py.

    Raises:
        InputError: If the arrays do not fit together.
    """

    title: str
    camera_rows: tuple[tuple[CameraView, ...], ...]
    points_lidar_m: np.ndarray
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    boxes_lidar_m: np.ndarray
    box_names: tuple[str, ...]
    ahead_yaw: float = 0.0
    simulated: bool = False

    def __post_init__(self) -> None:
        points, labels = self.points_lidar_m, self.labels
        if points.ndim != 2 or points.shape[1] != 3:
            raise InputError(f'{self.title}: points {points.shape}', '(N, 3) metres', 'give x, y, z only')
        if labels is not None and labels.shape != points.shape[:1]:
            raise InputError(
                f'{self.title}: {labels.shape} labels of {len(points)} points',
                'a label for each point',
                'the label file belongs to another sweep or is truncated: unpack both archives again',
            )
        if labels is not None and len(labels) and not -1 <= labels.min() <= labels.max() < len(self.class_names):
            raise InputError(
                f'{self.title}: labels {labels.min()} to {labels.max()}',
                f'-1 to {len(self.class_names) - 1}',
                "map the dataset's raw ids to its classes first",
            )
        if self.boxes_lidar_m.shape != (len(self.box_names), 7):
            raise InputError(
                f'{self.title}: boxes {self.boxes_lidar_m.shape} with {len(self.box_names)} names',
                'boxes (M, 7) and M names',
                'check the reader of this format',
            )

    def points_per_class(self) -> dict[str, int]:
        """Class name to number of points, in the dataset's order, then the unlabelled ones; empty without labels."""
        if self.labels is None:
            return {}
        counts = np.bincount(self.labels.astype(int) + 1, minlength=len(self.class_names) + 1).tolist()
        return dict(zip((*self.class_names, UNLABELLED), (*counts[1:], counts[0])))

    def boxes_per_type(self) -> dict[str, int]:
        """Box type to number of boxes, the most frequent first."""
        return dict(Counter(self.box_names).most_common())
