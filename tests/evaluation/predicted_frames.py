"""Made-up predictions, as mmengine's loops hand them to an evaluator."""

import numpy as np
import torch
from mmdet3d.structures import Det3DDataSample, PointData
from mmengine.evaluator import Evaluator


def disturbed(truth: np.ndarray, classes: list[int], right: float = 0.7) -> np.ndarray:
    """Predictions out of ``classes``: the truth where it is one of them and a coin falls so, any of them elsewhere."""
    chosen = np.random.choice(classes, len(truth))
    return np.where(np.isin(truth, classes) & (np.random.rand(len(truth)) < right), truth, chosen)


def predicted(prediction: np.ndarray, truth: np.ndarray | None = None, **meta) -> Det3DDataSample:
    """A frame after the model."""
    sample = Det3DDataSample(metainfo=meta)
    sample.pred_pts_seg = PointData(pts_semantic_mask=torch.from_numpy(prediction))
    sample.eval_ann_info = {} if truth is None else dict(pts_semantic_mask=truth)
    return sample


def evaluate(metrics, frames: list[Det3DDataSample], classes: tuple[str, ...], size: int | None = None) -> dict:
    """What mmengine makes of them, frame by frame."""
    evaluator = Evaluator(metrics)
    evaluator.dataset_meta = dict(classes=classes, ignore_index=len(classes))
    for frame in frames:
        evaluator.process([frame])
    return evaluator.evaluate(len(frames) if size is None else size)
