"""KITTI's numbers against its definition told in loops, against mmdet3d's evaluator, and by hand."""

import io
import math
import sys
import types
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from mmcv.ops import box_iou_rotated
from scored_kitti_frames import found_of, random_frames, truth_of
from shapely.geometry import Polygon

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.kitti_ap import CLASSES, DIFFICULTIES, SPACES, kitti_ap, score_thresholds

LIMITS = dict(easy=(40, 0, 0.15), moderate=(25, 1, 0.3), hard=(25, 2, 0.5))
LEAST = dict(
    official={name: [least] * 3 for name, least in zip(CLASSES, (0.7, 0.5, 0.5))},
    loose=dict(Car=[0.7, 0.5, 0.5], Pedestrian=[0.5, 0.25, 0.25], Cyclist=[0.5, 0.25, 0.25]),
)
NEIGHBOUR = dict(Car='Van', Pedestrian='Person_sitting')
CAR_PX, CAR = [100, 100, 200, 150], [2.0, 1.5, 20.0, 3.9, 1.5, 1.6, 0.3]


def ground(box):
    """A camera box on the x, z plane; the rotation turns x towards -z."""
    x, _, z, length, _, width, angle = box
    corners = [(length / 2, width / 2), (length / 2, -width / 2), (-length / 2, -width / 2), (-length / 2, width / 2)]
    cos, sin = math.cos(angle), math.sin(angle)
    return Polygon([(x + cos * u + sin * v, z - sin * u + cos * v) for u, v in corners])


def px_shared(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def px_area(a):
    return (a[2] - a[0]) * (a[3] - a[1])


def slow_overlap(truth, i, found, j, space):
    if space == '2d':
        shared = px_shared(truth.box_px[i], found.box_px[j])
        return shared / (px_area(truth.box_px[i]) + px_area(found.box_px[j]) - shared)
    a, b = truth.box_cam[i], found.box_cam[j]
    first, second = ground(a), ground(b)
    shared, total = first.intersection(second).area, first.area + second.area
    if space == '3d':  # y points down, and is that of the bottom
        shared *= max(min(a[1], b[1]) - max(a[1] - a[4], b[1] - b[4]), 0)
        total = a[3] * a[4] * a[5] + b[3] * b[4] * b[5]
    return shared / (total - shared)


class SlowFrame:
    """One frame for one class, difficulty and space."""

    def __init__(self, truth, found, name, level, space, least, overlaps):
        height, occlusion, truncation = LIMITS[level]
        self.truth, self.found, self.space, self.least, self.overlaps = truth, found, space, least, overlaps
        self.objects = {}  # row: whether it counts
        for i, kind in enumerate(truth.name):
            seen = truth.box_px[i][3] - truth.box_px[i][1] > height
            seen = seen and truth.occluded[i] <= occlusion and truth.truncated[i] <= truncation
            if kind == name:
                self.objects[i] = bool(seen)
            elif kind == NEIGHBOUR.get(name):
                self.objects[i] = False
        self.detections = {}
        for j, kind in enumerate(found.name):
            if abs(found.box_px[j][3] - found.box_px[j][1]) < height:
                self.detections[j] = False
            elif kind == name:
                self.detections[j] = True

    def run(self, threshold=None):
        """Pairs of hits, and how many detections are false; without threshold the surest are taken."""
        free = {j for j in self.detections if threshold is None or self.found.score[j] >= threshold}
        hits = []
        for i, counts in self.objects.items():
            able = [j for j in sorted(free) if self.overlaps[i, j] > self.least]
            if threshold is not None:  # small ones only if there is no other, and then the first
                large = [j for j in able if self.detections[j]]
                able = sorted(large, key=lambda j: -self.overlaps[i, j]) or able
            else:
                able = sorted(able, key=lambda j: -self.found.score[j])
            if able:
                free.remove(able[0])
                if counts and self.detections[able[0]]:
                    hits.append((i, able[0]))
        false = [j for j in free if self.detections[j]]
        if self.space == '2d':
            regions = [box for box, kind in zip(self.truth.box_px, self.truth.name) if kind == 'DontCare']
            boxes = self.found.box_px
            false = [
                j for j in false if not any(px_shared(boxes[j], r) / px_area(boxes[j]) > self.least for r in regions)
            ]
        return hits, len(false)


def slow_thresholds(scores, objects):
    """A score is the next threshold unless the one after it comes nearer to the recall that is due."""
    found, due, scores = [], 0.0, sorted(scores, reverse=True)
    for i, score in enumerate(scores):
        too_low, too_high = due - (i + 1) / objects, (i + 2) / objects - due
        if i + 1 == len(scores) or too_high >= too_low:
            found.append(score)
            due += 1 / 40  # summed up as the devkit does: rounding decides between recalls that are equally near
    return found


def slow_kitti_ap(truths, detections, overlap_set):
    """By the definition, one class, difficulty, space, threshold, frame and object after the other."""
    numbers = {}
    for s, space in enumerate(SPACES):
        overlaps = [
            {(i, j): slow_overlap(t, i, f, j, space) for i in range(len(t.name)) for j in range(len(f.name))}
            for t, f in zip(truths, detections)
        ]
        for name in CLASSES:
            for level in LIMITS:
                frames = [
                    SlowFrame(t, f, name, level, space, LEAST[overlap_set][name][s], o)
                    for t, f, o in zip(truths, detections, overlaps)
                ]
                objects = sum(sum(frame.objects.values()) for frame in frames)
                scores = [frame.found.score[j] for frame in frames for _, j in frame.run()[0]]
                precision, similarity = [], []
                for threshold in slow_thresholds(scores, objects):
                    hits, false, alike = 0, 0, 0.0
                    for frame in frames:
                        pairs, wrong = frame.run(threshold)
                        hits, false = hits + len(pairs), false + wrong
                        alike += sum((1 + math.cos(frame.truth.alpha[i] - frame.found.alpha[j])) / 2 for i, j in pairs)
                    precision.append(hits / (hits + false) if hits + false else 0)
                    similarity.append(alike / (hits + false) if hits + false else 0)
                numbers[f'{name}/objects/{level}'] = objects
                for statistic, curve in (('AP', precision), ('AOS', similarity)):
                    if statistic == 'AP' or space == '2d':
                        best = [max(curve[i:], default=0) for i in range(41)]
                        r40, r11 = sum(best[1:]) / 40, sum(best[::4]) / 11
                        numbers[f'{name}/{space}/{statistic}_R40/{level}'] = r40 if objects else math.nan
                        numbers[f'{name}/{space}/{statistic}_R11/{level}'] = r11 if objects else math.nan
    return numbers


@pytest.mark.parametrize(('seed', 'count', 'overlap_set'), [(0, 90, 'official'), (1, 25, 'loose'), (2, 3, 'official')])
def test_equals_the_definition(seed, count, overlap_set):
    truths, detections = random_frames(seed, count)
    ours = kitti_ap(truths, detections, min_overlaps=overlap_set)
    slow = slow_kitti_ap(truths, detections, overlap_set)
    assert {key for key in ours if not key.startswith('mean')} == slow.keys()
    for key, value in slow.items():
        assert ours[key] == pytest.approx(value, abs=1e-6, nan_ok=True), key
    if seed == 0:
        assert ours['Car/objects/hard'] > 80
        assert sum(0.1 < value < 0.9 for key, value in ours.items() if '_R40' in key) > 25
    mean = np.nanmean([slow[f'{name}/3d/AP_R40/moderate'] for name in CLASSES])
    assert ours['mean/3d/AP_R40/moderate'] == pytest.approx(mean, abs=1e-6)


@pytest.mark.needs_mmcv_ops
def test_equals_mmdet3d_s_evaluator(monkeypatch):
    def rotate_iou(boxes, others, criterion=-1):
        iou = box_iou_rotated(*(torch.from_numpy(b).float() for b in (boxes, others)), clockwise=False).numpy()
        if criterion == -1:
            return iou
        areas = np.prod(boxes[:, None, 2:4], -1) + np.prod(others[None, :, 2:4], -1)
        return iou * areas / (1 + iou)

    # Its own module asks for CUDA when imported.
    module = 'mmdet3d.evaluation.functional.kitti_utils.rotate_iou'
    monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(rotate_iou_gpu_eval=rotate_iou))
    from mmdet3d.evaluation import kitti_eval

    truths, detections = random_frames(3, 60, most_objects=8)
    # It fails on a first frame without objects.
    frames = sorted(zip(truths, detections), key=lambda frame: len(frame[0].name) == 0)

    def annotation(boxes):
        camera = dict(location=boxes.box_cam[:, :3], dimensions=boxes.box_cam[:, 3:6], rotation_y=boxes.box_cam[:, 6])
        return dict({key: getattr(boxes, key) for key in vars(boxes)}, bbox=boxes.box_px, **camera)

    with redirect_stdout(io.StringIO()):
        _, theirs = kitti_eval(*([annotation(b) for b in boxes] for boxes in zip(*frames)), list(CLASSES))
    assert max(theirs.values()) > 30
    for overlap_set, strictness in (('official', 'strict'), ('loose', 'loose')):
        ours = kitti_ap(truths, detections, min_overlaps=overlap_set)
        for name in CLASSES:
            for space in SPACES:
                for level in DIFFICULTIES:
                    for points in (11, 40):
                        value = theirs[f'KITTI/{name}_{space.upper()}_AP{points}_{level}_{strictness}']
                        key = f'{name}/{space}/AP_R{points}/{level}'
                        assert 100 * ours[key] == pytest.approx(value, abs=1e-4), key


def cars(count, **changes):
    """Frames with one car each, all found exactly."""
    truths = [truth_of(['Car'], [CAR_PX], [CAR], **changes)] * count
    return truths, [found_of(['Car'], [CAR_PX], [CAR], [1 - i / 1000]) for i in range(count)]


@pytest.mark.parametrize('found', [1, 6, 41, 100])
def test_small_sets_cap_even_perfect_detections(found):
    numbers = kitti_ap(*cars(found))
    for space in SPACES:
        assert numbers[f'Car/{space}/AP_R40/easy'] == pytest.approx(min(found - 1, 40) / 40)
        assert numbers[f'Car/{space}/AP_R11/easy'] == pytest.approx(math.ceil(min(found, 41) / 4) / 11)
    assert math.isnan(numbers['Cyclist/3d/AP_R40/easy'])
    assert numbers['mean/3d/AP_R40/easy'] == numbers['Car/3d/AP_R40/easy']


def test_half_turns_cost_orientation_alone():
    truths, detections = cars(41)
    half_turn = np.array([0, 0, 0, 0, 0, 0, math.pi])
    turned = [found_of(f.name, f.box_px, f.box_cam + half_turn, f.score, [math.pi]) for f in detections]
    numbers = kitti_ap(truths, turned)
    assert numbers['Car/2d/AP_R40/easy'] == numbers['Car/3d/AP_R40/easy'] == pytest.approx(1)
    assert numbers['Car/2d/AOS_R40/easy'] == pytest.approx(0, abs=1e-12)


def test_a_threshold_where_all_that_is_left_is_ignored_has_precision_0():
    small = [100, 100, 200, 138]  # of 50 pixels: enough overlap, not enough height for easy
    truth = truth_of(['Van', 'Car'], [CAR_PX, CAR_PX], [CAR, CAR])
    # The surest detection goes to the van first and leaves the good one to the car; at its score the van takes that.
    found = found_of(['Car', 'Car'], [small, CAR_PX], [CAR, CAR], [0.9, 0.8])
    numbers = kitti_ap([truth], [found])
    assert numbers['Car/objects/easy'] == 1
    assert numbers['Car/2d/AP_R11/easy'] == numbers['Car/2d/AOS_R11/easy'] == 0
    assert numbers['Car/2d/AP_R11/moderate'] == pytest.approx(1 / 11)  # there the small one is scored


def test_thresholds_follow_recall():
    scores = np.arange(1000) / 1000
    thresholds = score_thresholds(scores, 1000)
    assert len(thresholds) == 41
    np.testing.assert_allclose(thresholds[1:-1], 1 - np.arange(1, 40) / 40, atol=1e-3)
    assert list(score_thresholds(np.array([0.5, 0.9]), 80)) == [0.9, 0.5]


@pytest.mark.parametrize(
    ('change', 'complaint'),
    [
        (dict(classes=('Car', 'Van')), r"\['Van'\](.|\n)*Pedestrian"),
        (dict(min_overlaps='lax'), 'lax(.|\n)*official'),
        (dict(detections=[]), 'detections of 0 frames and ground truth of 2'),
        (dict(truths=[truth_of()] * 2), '2 frames without one object'),
        (dict(truths=cars(2, occluded=[3])[0]), 'without one object of .* that counts'),
    ],
)
def test_bad_input(change, complaint):
    truths, detections = cars(2)
    with pytest.raises(InputError, match=complaint):
        kitti_ap(**{**dict(truths=truths, detections=detections), **change})


@pytest.mark.parametrize(('box', 'complaint'), [([CAR[:6]], 'box_cam'), ([[math.nan, *CAR[1:]]], 'box_cam is NaN')])
def test_broken_boxes_are_refused(box, complaint):
    with pytest.raises(ValueError, match=complaint):
        type(found_of())(np.array(['Car']), np.array([CAR_PX]), np.array(box), np.zeros(1), np.ones(1))


@pytest.mark.parametrize('level, height', [('easy', 40), ('moderate', 25), ('hard', 25)])
def test_an_object_exactly_as_tall_as_asked_is_ignored_as_mmdet3d_does(level, height):
    truth = truth_of(['Car'] * 3, [[0, 10, 90, 10 + height + more] for more in (0, 0.01, 100)], [CAR] * 3)
    found = found_of(['Car'], [[0, 10, 90, 10 + height]], [CAR], [0.5])
    assert kitti_ap([truth], [found])[f'Car/objects/{level}'] == 2
    # A detection exactly as tall is no small one: alone, it is a false one.
    elsewhere = truth_of(['Car'] * 2, [[300, 10, 390, 200]] * 2, [[50.0, *CAR[1:]], CAR])
    both = found_of(['Car'] * 2, [[0, 10, 90, 10 + height], [300, 10, 390, 200]], [CAR] * 2, [0.9, 0.5])
    numbers = kitti_ap([elsewhere], [both])
    assert numbers[f'Car/2d/AP_R11/{level}'] == pytest.approx(0.5 / 11)


def test_labels_without_boxes_in_the_image_are_scored_by_occlusion_alone_and_not_in_2d():
    cars = [[2.0 + 8 * row, *CAR[1:]] for row in range(3)]
    truth = truth_of(['Car'] * 3, np.zeros((3, 4)), cars, occluded=[0, 1, 2])
    region = truth_of(['DontCare'], [[0, 0, 50, 50]], [[-1000] * 3 + [-1] * 3 + [-10]], occluded=[-1], truncated=[-1])
    found = found_of(['Car'] * 3, [CAR_PX] * 3, cars, [0.9, 0.8, 0.7])
    numbers = kitti_ap([truth, region], [found, found_of()])
    assert [numbers[f'Car/objects/{level}'] for level in DIFFICULTIES] == [1, 2, 3]
    assert numbers['Car/3d/AP_R11/hard'] == pytest.approx(1 / 11)
    assert all(math.isnan(value) for name, value in numbers.items() if '/2d/' in name)
    # One box is enough for the usual rules: the others are too small to count.
    with_one = truth_of(['Car'] * 3, [[0] * 4, [0] * 4, CAR_PX], cars, occluded=[0, 1, 0])
    numbers = kitti_ap([with_one], [found])
    assert numbers['Car/objects/hard'] == 1 and numbers['Car/2d/AP_R11/hard'] > 0
