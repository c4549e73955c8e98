from abc import abstractmethod
from typing import ClassVar

import numpy as np

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.submission import Submission
from cleverdistiller.fileio import replace_when_complete


class SegSubmission(Submission):
    """Base of the writers of a class for each point.

    Args:
        out_dir (str): Folder to fill.
        **kwargs: See :class:`Submission`.

    Raises:
        InputError: If a frame lacks what its file is named after, or a prediction is out of range.
    """

    raw_ids: ClassVar[np.ndarray]  # (K,) what the server calls each class, in the type of its files

    @abstractmethod
    def file_of(self, sample: dict) -> str:
        """Where a frame's prediction goes, relative to ``out_dir``."""

    def write_frame(self, sample: dict) -> str:
        """Write raw ids; returns the file's name."""
        prediction = sample['pred_pts_seg']['pts_semantic_mask'].cpu().numpy()
        if len(prediction) and not 0 <= prediction.min() <= prediction.max() < len(self.raw_ids):
            raise InputError(
                f'predictions from {prediction.min()} to {prediction.max()} for {sample.get("lidar_path")}',
                f'classes from 0 to {len(self.raw_ids) - 1}',
                'the checkpoint or the config is of another dataset: take those of this one',
            )
        name = self.file_of(sample)
        with replace_when_complete(self.out_dir / name) as temporary:
            temporary.write_bytes(self.raw_ids[prediction].tobytes())
        return name
