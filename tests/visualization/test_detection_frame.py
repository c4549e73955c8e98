"""Which detection takes which object, and how a judged frame is drawn and told."""

import dataclasses

import numpy as np
import pytest
import torch

from cleverdistiller.datasets.palette import colour_of
from cleverdistiller.errors import InputError
from cleverdistiller.ops.rotated_iou import iou_3d
from cleverdistiller.visualization import DetectedFrame, draw_detections
from cleverdistiller.visualization.detection_frame import KINDS, LEAST_IOU, match
from cleverdistiller.visualization.detection_sheet import BIRD_EYE_PX, GAP_PX, TITLE_PX
from detection_set import detections_of
from frame_views import made_up_view

CAR, OTHER_CAR, WALKER = (10, 3, -1, 4, 1.6, 1.5, 0.4), (20, -4, -1, 4, 1.6, 1.5, 3.0), (9, -2, -1, 0.8, 0.6, 1.7, 1)


def lifted(*boxes: tuple) -> np.ndarray:
    """Objects as a FrameView has them, with the middle's height."""
    return np.array([(*box[:2], box[2] + box[5] / 2, *box[3:]) for box in boxes], float).reshape(-1, 7)


def judged(*boxes: tuple, objects=(CAR, OTHER_CAR, WALKER), names=('Car', 'Car', 'Pedestrian'), **changes):
    points = np.array([[10.0, 0, 0], [20, 5, 1], [30, -4, -1]], np.float32)
    fields = dict(points_lidar_m=points, boxes_lidar_m=lifted(*objects), box_names=names, labels=None, **changes)
    return DetectedFrame(made_up_view(**fields), detections_of('0', *boxes))


def moved(box: tuple, metres: float) -> tuple:
    return (box[0] + metres, *box[1:])


def slow_match(objects: np.ndarray, object_names: list, boxes: np.ndarray, names: list) -> list[int]:
    taken = []
    for box, name in zip(boxes, names):
        best, best_iou = -1, 0.0
        for row, (other, other_name) in enumerate(zip(objects, object_names)):
            iou = float(iou_3d(torch.from_numpy(box), torch.from_numpy(other)))
            if other_name == name and row not in taken and iou > LEAST_IOU[name] and iou > best_iou:
                best, best_iou = row, iou
        taken.append(best)
    return taken


def test_objects_are_taken_as_in_the_slow_loops():
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(6):
        objects = np.hstack([rng.uniform(0, (4, 4, 0.2), (9, 3)), np.full((9, 3), 2), np.zeros((9, 1))])
        boxes = objects[rng.integers(0, 9, 15)] + rng.normal(0, 0.15, (15, 7))
        object_names, names = (rng.choice([*LEAST_IOU], count) for count in (9, 15))
        found = match(objects, object_names, boxes, names)
        assert found.tolist() == slow_match(objects, object_names, boxes, names)
        seen += found.tolist()
    assert 6 < sum(row >= 0 for row in seen) < 84


@pytest.mark.parametrize('objects, boxes', [(0, 0), (0, 2), (2, 0)])
def test_nothing_takes_nothing(objects, boxes):
    found = match(np.ones((objects, 7)), np.full(objects, 'Car'), 9 * np.ones((boxes, 7)), np.full(boxes, 'Car'))
    assert found.tolist() == [-1] * boxes


def test_the_surer_detection_chooses_first_and_a_second_is_false():
    frame = judged((moved(CAR, 0.1), 'Car', 0.6), (moved(CAR, 0.3), 'Car', 0.9), (WALKER, 'Car', 0.8))
    np.testing.assert_allclose(frame.shown.scores, [0.9, 0.8, 0.6])
    assert frame.taken.tolist() == [0, -1, -1]
    assert frame.counts() == dict(
        Car=dict(found=1, missed=1, false=2, hit=1), Pedestrian=dict(found=0, missed=1, false=0, hit=0)
    )
    assert frame.told() == 'Car 1 of 2 found, 2 false; Pedestrian 0 of 1 found, 0 false'


def test_a_class_has_its_own_overlap():
    frame = judged((moved(CAR, 1.0), 'Car', 0.9), (moved(WALKER, 0.1), 'Pedestrian', 0.9))  # IoU 0.60 and 0.7
    assert frame.taken.tolist() == [-1, 2]


def test_just_the_overlap_is_not_enough_as_for_kitti():
    whole, half = np.array([[5, 0, 0, 2, 1, 1, 0]], float), np.array([[5, 0, 0, 1, 1, 1, 0]], float)
    more_than_half, walker = np.array([[5, 0, 0, 1.01, 1, 1, 0]], float), np.array(['Pedestrian'])
    assert iou_3d(torch.from_numpy(half), torch.from_numpy(whole)).item() == LEAST_IOU['Pedestrian']
    assert match(whole, walker, half, walker).tolist() == [-1]
    assert match(whole, walker, more_than_half, walker).tolist() == [0]


def test_unsure_detections_are_left_out():
    frame = judged((CAR, 'Car', 0.9), (WALKER, 'Pedestrian', 0.2))
    assert frame.taken.tolist() == [0]
    assert dataclasses.replace(frame, min_score=0.1).taken.tolist() == [0, 2]
    assert judged(objects=(), names=()).told() == 'no object and no detection'


def test_boxes_are_called_what_became_of_them_and_hits_are_drawn_last():
    view, captions = judged((CAR, 'Car', 0.9), (moved(CAR, 9), 'Cyclist', 0.5)).judged()
    assert view.box_names == ('found', 'missed', 'missed', 'false', 'hit')
    assert captions == ['', 'Car', 'Pedestrian', 'Cyclist 0.50', 'Car 0.90']
    np.testing.assert_allclose(view.boxes_lidar_m[0], view.boxes_lidar_m[4], atol=1e-6)


def drawn(picture, kind: str) -> np.ndarray:
    return (np.array(picture) == colour_of(kind)).all(-1)


def test_each_kind_is_drawn_from_above_and_in_the_picture():
    picture = draw_detections([judged((moved(CAR, 0.3), 'Car', 0.9), (moved(CAR, 9), 'Cyclist', 0.5))])
    above = np.array(picture)[TITLE_PX : TITLE_PX + BIRD_EYE_PX, GAP_PX : GAP_PX + BIRD_EYE_PX]
    through = np.array(picture)[TITLE_PX : TITLE_PX + 400, 2 * GAP_PX + BIRD_EYE_PX :]
    for panel in (above, through):
        assert all(drawn(panel, kind).any() for kind in KINDS)


def test_a_set_that_looks_ahead_is_shown_ahead():
    ahead = judged((CAR, 'Car', 0.9))
    points = np.array([[10.0, 0, 0], [20, 5, 1], [-30, -4, -1]], np.float32)
    around = dataclasses.replace(ahead, view=dataclasses.replace(ahead.view, points_lidar_m=points))
    for frame, middle_m in ((ahead, 35), (around, 0)):
        picture = np.array(draw_detections([frame], reach_m=40))
        rows = np.nonzero(drawn(picture[:, : GAP_PX + BIRD_EYE_PX], 'hit'))[0]
        expected = TITLE_PX + ((middle_m - CAR[0]) / 40 + 1) * BIRD_EYE_PX / 2
        assert abs(rows.mean() - expected) < 15


def test_frames_are_rows_and_simulated_ones_carry_the_banner():
    one, plain = judged((CAR, 'Car', 0.9)), draw_detections([judged((CAR, 'Car', 0.9))])
    assert draw_detections([one, one]).height == 2 * plain.height
    marked = draw_detections([judged((CAR, 'Car', 0.9), simulated=True)])
    assert marked.height > plain.height and marked.width == plain.width


def test_a_class_without_an_overlap_is_refused():
    with pytest.raises(InputError, match='detections of Tram'):
        judged((CAR, 'Tram', 0.1))
