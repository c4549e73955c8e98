"""Detections of a set of frames in one file, for pictures and for scoring again without the detector."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete

ARRAYS = ('frame_id', 'count', 'boxes_lidar', 'scores', 'names')


@dataclass(frozen=True)
class FrameDetections:
    """What a detector says about one frame, M boxes.

    Args:
        frame_id (str): The dataset's own id, such as ``'000123'``.
        boxes_lidar (np.ndarray): (M, 7) float32 in the frame of the points: x, y, z of the middle of the bottom, size
            along and across the heading and height in metres, yaw in radians, counter-clockwise from x to y.
        scores (np.ndarray): (M,) float32, higher is surer.
        names (np.ndarray): (M,) classes as text.

    Raises:
        InputError: If there is not one score and name for each box, or a number is NaN or infinite.
    """

    frame_id: str
    boxes_lidar: np.ndarray
    scores: np.ndarray
    names: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.boxes_lidar)
        if (self.boxes_lidar.shape, self.scores.shape, self.names.shape) != ((count, 7), (count,), (count,)):
            raise InputError(
                f'detections in frame {self.frame_id}: boxes {self.boxes_lidar.shape}, scores {self.scores.shape}, '
                f'names {self.names.shape}',
                '(M, 7), (M,) and (M,)',
                'give each box one score and one name',
            )
        if not (np.isfinite(self.boxes_lidar).all() and np.isfinite(self.scores).all()):
            raise InputError(
                f'detections in frame {self.frame_id} that are NaN or infinite', 'finite numbers', 'check the detector'
            )


def write_detections(path: str | Path, frames: Sequence[FrameDetections]) -> None:
    """Write one ``.npz`` of plain arrays: ids and box counts of the frames, then all boxes, frame after frame.

    Args:
        path (str | Path): The file.
        frames (Sequence[FrameDetections]): One a frame; those without a box belong in it.

    Raises:
        InputError: If a frame comes twice.
    """
    ids = [frame.frame_id for frame in frames]
    if len(set(ids)) < len(ids):
        twice = next(each for row, each in enumerate(ids) if each in ids[:row])
        raise InputError(f'detections in frame {twice} twice', 'each frame once', 'check the frame ids of the dataset')
    arrays = dict(
        frame_id=np.array(ids, str),
        count=np.array([len(frame.scores) for frame in frames], np.int64),
        boxes_lidar=np.concatenate([np.zeros((0, 7)), *(frame.boxes_lidar for frame in frames)]).astype(np.float32),
        scores=np.concatenate([np.zeros(0), *(frame.scores for frame in frames)]).astype(np.float32),
        # An empty array of names may have any type.
        names=np.array([name for frame in frames for name in frame.names.tolist()], str),
    )
    with replace_when_complete(path) as temporary, open(temporary, 'wb') as file:
        np.savez_compressed(file, **arrays)


def read_detections(path: str | Path) -> dict[str, FrameDetections]:
    """Read a file of :func:`write_detections`.

    Args:
        path (str | Path): The file.

    Returns:
        dict[str, FrameDetections]: By frame id, in the order in which they were written.

    Raises:
        InputError: If it is missing, damaged, or another kind of file.
    """
    remedy = 'give the predictions_file that a metric wrote, or test again with test_evaluator.predictions_file=FILE'
    if not Path(path).is_file():
        raise InputError(f'{path}, which is not a file', 'detections (.npz)', remedy)
    try:
        with np.load(path, allow_pickle=False) as file:
            ids, count, *arrays = (file[name] for name in ARRAYS)
        if len(ids) != len(count) or any(len(array) != count.sum() for array in arrays):
            raise ValueError('its arrays do not fit together')
        parts = zip(*(np.split(array, np.cumsum(count))[:-1] for array in arrays))
        frames = {frame_id: FrameDetections(frame_id, *part) for frame_id, part in zip(ids.tolist(), parts)}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f'{path}, which cannot be read ({error})', 'detections (.npz)', remedy) from error
    return frames
