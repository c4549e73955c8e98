"""Scores of semantic segmentation, from one confusion matrix. Classes are 0..K-1; the label K is ignored."""

import math

import numpy as np

ABSENT = ('skip', 'zero')


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the points of each true and each predicted class.

    Args:
        truth (np.ndarray): (N,) integers from 0 to K; points of class K do not count.
        prediction (np.ndarray): (N,) integers from 0 to K-1.
        num_classes (int): K.

    Returns:
        np.ndarray: (K, K) int64, a row for each true class.

    Raises:
        ValueError: If the lengths differ or an id is out of range, which would count in another class's row.
    """
    if len(truth) != len(prediction):
        raise ValueError(f'{len(prediction)} predictions for {len(truth)} labels')
    _check_range('predictions', prediction, num_classes - 1)
    _check_range('labels', truth, num_classes)
    labelled = truth < num_classes
    cells = truth[labelled].astype(np.int64) * num_classes + prediction[labelled]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def per_class_iou(confusion: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN).

    Args:
        confusion (np.ndarray): (K, K), rows are the truth.

    Returns:
        np.ndarray: (K,) float64; NaN for a class that was neither there nor predicted.
    """
    hits = np.diag(confusion)
    return _ratio(hits, confusion.sum(0) + confusion.sum(1) - hits)


def per_class_recall(confusion: np.ndarray) -> np.ndarray:
    """TP / (TP + FN), which the field calls a class's accuracy.

    Args:
        confusion (np.ndarray): (K, K), rows are the truth.

    Returns:
        np.ndarray: (K,) float64; NaN for a class that was not there.
    """
    return _ratio(np.diag(confusion), confusion.sum(1))


def mean_iou(iou: np.ndarray, absent: str = 'skip') -> float:
    """Mean over classes.

    Args:
        iou (np.ndarray): (K,) from :func:`per_class_iou`.
        absent (str): What a class without IoU counts as: ``skip`` leaves it out, as nuScenes' devkit does; ``zero``
            counts 0, as SemanticKITTI's API does.

    Returns:
        float: NaN if all classes are left out.

    Raises:
        ValueError: If ``absent`` is something else.
    """
    if absent not in ABSENT:
        raise ValueError(f'absent={absent!r} is none of {ABSENT}')
    scores = np.nan_to_num(iou) if absent == 'zero' else iou[~np.isnan(iou)]
    return float(scores.mean()) if len(scores) else math.nan


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _check_range(what: str, ids: np.ndarray, largest: int) -> None:
    wrong = ids[(ids < 0) | (ids > largest)]
    if len(wrong):
        raise ValueError(f'{what} from {wrong.min()} to {wrong.max()} in {len(wrong)} points, not from 0 to {largest}')
