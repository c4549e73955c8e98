import math

import numpy as np
import pytest

from cleverdistiller.evaluation.segmentation import confusion_matrix, mean_iou, per_class_iou, per_class_recall

K = 5


def scan(points: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Labels with ignored ones, and predictions; class 3 is neither there nor predicted."""
    truth = np.random.choice([0, 1, 2, 4, K], points)
    return truth, np.where(np.random.rand(points) < 0.6, truth % K, np.random.choice([0, 1, 2, 4], points))


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
def test_confusion_is_a_count_of_points(dtype):
    truth, prediction = scan()
    expected = np.zeros((K, K), int)
    for true, predicted in zip(truth, prediction):
        if true != K:
            expected[true, predicted] += 1
    found = confusion_matrix(truth.astype(dtype), prediction.astype(dtype), K)
    assert found.dtype == np.int64 and (found == expected).all()


def test_many_classes_do_not_overflow_the_labels_type():
    found = confusion_matrix(np.array([21], np.uint8), np.array([20], np.uint8), 22)
    assert found[21, 20] == 1 == found.sum()


def test_iou_and_recall_by_sets_of_points():
    truth, prediction = scan()
    confusion = confusion_matrix(truth, prediction, K)
    iou, recall = per_class_iou(confusion), per_class_recall(confusion)
    scored = set(np.flatnonzero(truth != K))
    for label in range(K):
        there, said = set(np.flatnonzero(truth == label)), set(np.flatnonzero(prediction == label)) & scored
        if not there | said:
            assert label == 3 and math.isnan(iou[label]) and math.isnan(recall[label])
        else:
            assert iou[label] == len(there & said) / len(there | said)
            assert recall[label] == len(there & said) / len(there)


def test_an_absent_class_is_skipped_or_zero_and_a_predicted_one_always_zero():
    iou = per_class_iou(np.array([[3, 0, 1], [0, 0, 0], [0, 0, 0]]))  # 1 is nowhere, 2 is only predicted
    assert iou[0] == 0.75 and math.isnan(iou[1]) and iou[2] == 0
    assert mean_iou(iou) == 0.375 and mean_iou(iou, 'zero') == 0.25
    assert math.isnan(mean_iou(np.array([np.nan]))) and mean_iou(np.array([np.nan]), 'zero') == 0
    with pytest.raises(ValueError, match='half'):
        mean_iou(iou, 'half')


@pytest.mark.parametrize(
    ('truth', 'prediction', 'complaint'),
    [
        ([0, 1], [0, K], 'predictions from 5 to 5 in 1 points'),  # would count as class 0 predicted for class 2
        ([0, 1], [-1, 0], 'predictions from -1'),
        ([0, K], [0, K], 'predictions'),  # also where the label is ignored
        ([0, K + 1], [0, 0], 'labels from 6 to 6'),
        ([0, -1], [0, 0], 'labels'),
        ([0, 1], [0], '1 predictions for 2 labels'),
    ],
)
def test_ids_out_of_range_are_refused(truth, prediction, complaint):
    with pytest.raises(ValueError, match=complaint):
        confusion_matrix(np.array(truth), np.array(prediction), K)
