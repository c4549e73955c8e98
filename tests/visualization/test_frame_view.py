from itertools import combinations

import numpy as np
import pytest

from cleverdistiller.datasets import label_set
from cleverdistiller.datasets.palette import OTHER, colour_of
from cleverdistiller.errors import InputError
from cleverdistiller.visualization.frame_view import UNLABELLED
from frame_views import made_up_view


def test_points_are_counted_as_a_loop_counts_them():
    rng = np.random.default_rng(0)
    labels, names = rng.integers(-1, 4, 500), ('a', 'b', 'c', 'd', 'never')
    counts = made_up_view(points_lidar_m=np.zeros((500, 3)), labels=labels, class_names=names).points_per_class()
    for number, name in enumerate(names):
        assert counts[name] == sum(1 for label in labels if label == number)
    assert counts[UNLABELLED] == sum(1 for label in labels if label == -1) and counts['never'] == 0
    assert list(counts) == [*names, UNLABELLED]


def test_no_labels_no_counts_and_types_by_frequency():
    view = made_up_view(labels=None, boxes_lidar_m=np.zeros((3, 7)), box_names=('bus', 'car', 'car'))
    assert view.points_per_class() == {} and list(view.boxes_per_type().items()) == [('car', 2), ('bus', 1)]


@pytest.mark.parametrize(
    'changes',
    [
        dict(points_lidar_m=np.zeros((3, 4))),
        dict(labels=np.zeros(2, int)),
        dict(labels=np.array([0, 1, 3])),
        dict(labels=np.array([0, 1, -2])),
        dict(box_names=()),
    ],
)
def test_what_does_not_fit_together_is_refused(changes):
    with pytest.raises(InputError, match='remedy'):
        made_up_view(**changes)


@pytest.mark.parametrize('labels', [label_set.NUSCENES, label_set.SEMANTIC_KITTI], ids=['nuscenes', 'semantickitti'])
def test_no_two_classes_of_a_dataset_look_alike(labels):
    for one, other in combinations([colour_of(name) for name in labels.names] + [OTHER], 2):
        assert np.abs(np.subtract(one, other)).max() >= 30, (one, other)


def test_datasets_agree_on_the_colour_of_a_thing():
    assert colour_of('Pedestrian') == colour_of('person') == colour_of('pedestrian') != OTHER
    assert colour_of('road') == colour_of('driveable_surface') != colour_of('sidewalk')
    assert colour_of('no such thing') == OTHER
