"""Predictions beside the truth: which points are drawn in which colour, and what is told of a frame."""

import dataclasses

import numpy as np
import pytest

from cleverdistiller.datasets.palette import colour_of
from cleverdistiller.errors import InputError
from cleverdistiller.visualization import SegmentedFrame, draw_errors, draw_predictions
from frame_views import made_up_view

POINTS = np.array([[10.0, 0, 0], [20, 5, 1], [-8, -4, -1], [-8, -4, 5]], np.float32)


def frame(labels=(1, 0, -1, 2), predicted=(1, 2, 0, 2), **changes) -> SegmentedFrame:
    labels = None if labels is None else np.array(labels)
    view = made_up_view(points_lidar_m=POINTS, labels=labels, boxes_lidar_m=np.zeros((0, 7)), box_names=(), **changes)
    return SegmentedFrame(view, np.array(predicted))


def has(picture, name: str) -> bool:
    return bool((np.array(picture) == colour_of(name)).all(-1).any())


def test_errors_are_the_labelled_points_that_differ_drawn_on_top():
    errors = frame().errors
    assert errors.class_names == ('correct', 'wrong')
    found = {tuple(point): label for point, label in zip(errors.points_lidar_m, errors.labels)}
    assert found == {tuple(POINTS[0]): 0, tuple(POINTS[1]): 1, tuple(POINTS[3]): 0}
    assert errors.labels.tolist() == [0, 0, 1]


def test_a_wrong_point_shows_through_a_higher_correct_one():
    picture = draw_errors([frame(labels=(1, 0, 1, 2), predicted=(1, 0, 0, 2))])  # the third lies below the fourth
    panel = np.array(picture)[:800, 2 * 770 :]
    assert (panel == colour_of('wrong')).all(-1).any()


def test_the_told_numbers_are_those_of_the_labelled_points():
    assert frame().told() == '66.7% of 3 points correct, mIoU 50.0%'  # car 1/1, vegetation 0/1, sidewalk 1/2
    assert frame(labels=(-1, -1, -1, -1)).told() == 'no labelled point'


def test_predictions_need_no_labels_and_errors_do():
    unlabelled = frame(labels=None)
    picture = draw_predictions([unlabelled, unlabelled])
    assert has(picture, 'car') and has(picture, 'sidewalk') and not has(picture, 'wrong')
    assert picture.height > draw_predictions([unlabelled]).height
    with pytest.raises(InputError, match='without labels'):
        draw_errors([unlabelled])


def test_simulated_frames_carry_the_banner():
    plain, marked = draw_errors([frame()]), draw_errors([frame(simulated=True)])
    assert marked.height > plain.height and marked.width == plain.width


def test_a_prediction_for_each_point_is_wanted():
    with pytest.raises(InputError, match='a prediction for each point'):
        dataclasses.replace(frame(), predicted=np.zeros(3, int))
