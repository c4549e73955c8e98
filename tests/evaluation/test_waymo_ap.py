"""Waymo's AP: the official operator behind our arrays, and the metric around it."""

import pytest

pytest.importorskip('waymo_open_dataset')

import math
import pickle
from dataclasses import replace

import numpy as np
import torch
from google.protobuf import text_format
from mmdet3d.registry import METRICS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.structures import InstanceData
from waymo_open_dataset.metrics.ops import py_metrics_ops
from waymo_open_dataset.metrics.python import config_util_py
from waymo_open_dataset.protos.metrics_pb2 import Config, Objects

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_predictions import FrameDetections, read_detections
from cleverdistiller.evaluation.waymo_ap import TYPES, WaymoTruth, official_metrics, waymo_ap

CLASSES = ('Pedestrian', 'Cyclist', 'Car')
SIZES = dict(Car=(4.5, 2.0, 1.6), Pedestrian=(0.8, 0.7, 1.7), Cyclist=(1.8, 0.7, 1.7))
OFFICIAL = (
    """
breakdown_generator_ids: OBJECT_TYPE breakdown_generator_ids: RANGE
difficulties { levels: LEVEL_1 levels: LEVEL_2 } difficulties { levels: LEVEL_1 levels: LEVEL_2 }
matcher_type: TYPE_HUNGARIAN box_type: TYPE_3D
iou_thresholds: 0.0 iou_thresholds: 0.7 iou_thresholds: 0.5 iou_thresholds: 0.5 iou_thresholds: 0.5
"""
    + ' '.join(f'score_cutoffs: {cutoff * 0.01}' for cutoff in range(100))
    + ' score_cutoffs: 1.0'
)


def make_truths(frames=6, per_class=8):
    """Boxes that do not touch each other, of both levels; one frame is empty."""
    truths = []
    for frame in range(frames):
        names = np.repeat(CLASSES, per_class if frame != 1 else 0)
        cells = np.random.permutation(20 * 20)[: len(names)]
        xy = np.stack([cells // 20, cells % 20], 1) * 7.0 - 66.5 + np.random.uniform(-0.5, 0.5, (len(names), 2))
        size = np.array([SIZES[name] for name in names]).reshape(-1, 3)
        yaw = np.random.uniform(-np.pi, np.pi, (len(names), 1))
        boxes = np.hstack([xy, np.random.uniform(-1, 2, (len(names), 1)), size, yaw]).astype(np.float32)
        levels = np.random.randint(1, 3, len(names))
        truths.append(WaymoTruth(f'segment{frame % 2}/{1_500_000_000_000_000 + frame}', boxes, names, levels))
    return truths


def perfect(truths, score=0.9):
    return [
        FrameDetections(truth.frame_id, truth.boxes_lidar, np.full(len(truth.names), score, np.float32), truth.names)
        for truth in truths
    ]


def turned(found, yaw):
    boxes = found.boxes_lidar.copy()
    boxes[:, 6] += yaw
    return replace(found, boxes_lidar=boxes)


def imperfect(truths):
    """Shifted boxes, duplicates, wrong classes, in another order of frames."""
    detections = []
    for truth in truths:
        boxes = np.concatenate([truth.boxes_lidar, truth.boxes_lidar[::2]])
        boxes = boxes + np.random.normal(0, 1, boxes.shape) * (0.12, 0.12, 0.1, 0.05, 0.05, 0.05, 0.4)
        names = np.concatenate([truth.names, truth.names[::2]])
        names = np.where(np.random.rand(len(names)) < 0.1, 'Car', names)
        scores = np.random.rand(len(names)).astype(np.float32)
        detections.append(FrameDetections(truth.frame_id, boxes.astype(np.float32), scores, names))
    return detections[::-1]


def test_it_equals_the_official_operator_called_by_hand():
    truths = make_truths()
    detections = imperfect(truths)
    config = text_format.Parse(OFFICIAL, Config())
    types = dict(Car=1, Pedestrian=2, Cyclist=4)
    rows, objects = [], []
    for frame, truth in enumerate(truths):
        found = next(each for each in detections if each.frame_id == truth.frame_id)
        for (x, y, z, *size, yaw), score, name in zip(found.boxes_lidar, found.scores, found.names):
            rows.append(([x, y, z + size[2] / 2, *size, yaw], types[name], score, frame, False))
        for (x, y, z, *size, yaw), level, name in zip(truth.boxes_lidar, truth.difficulty, truth.names):
            objects.append(([x, y, z + size[2] / 2, *size, yaw], types[name], frame, level))
    bbox, kind, score, frame, zone = zip(*rows)
    truth_bbox, truth_kind, truth_frame, level = zip(*objects)
    ap, aph, *_ = py_metrics_ops.detection_metrics(
        prediction_bbox=np.array(bbox, np.float32),
        prediction_type=np.array(kind, np.uint8),
        prediction_score=np.array(score, np.float32),
        prediction_frame_id=np.array(frame, np.int64),
        prediction_overlap_nlz=np.array(zone, bool),
        ground_truth_bbox=np.array(truth_bbox, np.float32),
        ground_truth_type=np.array(truth_kind, np.uint8),
        ground_truth_frame_id=np.array(truth_frame, np.int64),
        ground_truth_difficulty=np.array(level, np.uint8),
        config=config.SerializeToString(),
    )
    names = config_util_py.get_breakdown_names_from_config(config)
    official = dict(zip(names, zip(ap.numpy(), aph.numpy())))
    numbers = waymo_ap(truths, detections)
    compared = 0
    for name, waymos in zip(('Car', 'Pedestrian', 'Cyclist'), ('TYPE_VEHICLE', 'TYPE_PEDESTRIAN', 'TYPE_CYCLIST')):
        for level in (1, 2):
            for where in ('', '[0, 30)', '[30, 50)', '[50, +inf)'):
                shard = f'RANGE_{waymos}_{where}' if where else f'OBJECT_TYPE_{waymos}'
                for statistic, value in zip(('AP', 'APH'), official[f'{shard}_LEVEL_{level}']):
                    ours = numbers['/'.join(filter(None, (name, statistic, f'L{level}', where)))]
                    assert ours == pytest.approx(value, abs=1e-6) and 0 < ours < 1
                    compared += 1
    assert compared == 48
    for statistic in ('AP/L1', 'APH/L2', 'AP/L2/[0, 30)'):
        mean = sum(numbers[f'{name}/{statistic}'] for name in CLASSES) / 3
        assert numbers[f'mean/{statistic}'] == pytest.approx(mean)


def test_ground_truth_scores_one_and_turned_headings_drop_aph_alone():
    truths = make_truths()
    numbers = waymo_ap(truths, perfect(truths))
    scores = {key: value for key, value in numbers.items() if 'objects' not in key}
    assert len(scores) == 64 and all(value == pytest.approx(1, abs=1e-6) for value in scores.values())
    counts = sum((truth.names == 'Car').sum() for truth in truths)
    assert numbers['Car/objects/L2'] == counts > numbers['Car/objects/L1']
    half_turns = waymo_ap(truths, [turned(found, np.pi) for found in perfect(truths)])
    some_turns = waymo_ap(
        truths, [turned(found, np.random.choice([0, np.pi], len(found.scores))) for found in perfect(truths)]
    )
    for key in scores:
        if '/AP/' in key:
            assert half_turns[key] == some_turns[key] == pytest.approx(1, abs=1e-6)
        else:
            assert half_turns[key] == pytest.approx(0, abs=1e-4)
    assert 0.1 < some_turns['mean/APH/L2'] < 0.9


def test_frames_without_detections_count():
    truths = make_truths(frames=5)  # four with objects
    found = perfect(truths)
    nothing = FrameDetections(
        found[0].frame_id, np.zeros((0, 7), np.float32), np.zeros(0, np.float32), np.zeros(0, str)
    )
    numbers = waymo_ap(truths, [nothing, *found[1:]])
    assert numbers['mean/AP/L2'] == pytest.approx(0.75, abs=1e-3) and numbers['mean/APH/L2'] < 0.76
    none_at_all = waymo_ap(truths, [replace(nothing, frame_id=truth.frame_id) for truth in truths])
    assert none_at_all['mean/AP/L1'] == none_at_all['Car/APH/L2'] == 0


def test_hard_objects_are_missed_at_level_2_alone():
    [truth] = make_truths(frames=1)
    truth = replace(truth, difficulty=np.tile([1, 1, 1, 2], 6))
    easy = truth.difficulty == 1
    [all_found] = perfect([truth])
    found = replace(
        all_found, boxes_lidar=truth.boxes_lidar[easy], names=truth.names[easy], scores=all_found.scores[easy]
    )
    numbers = waymo_ap([truth], [found])
    assert numbers['Car/AP/L1'] == pytest.approx(1, abs=1e-6)
    assert numbers['Car/AP/L2'] == pytest.approx(0.75, abs=1e-3)


def test_what_has_no_object_is_nan_and_not_in_the_mean(monkeypatch):
    measured = {}

    def measure(*arguments):
        measured.update(official_metrics(*arguments))
        return measured

    monkeypatch.setattr('cleverdistiller.evaluation.waymo_ap.official_metrics', measure)
    # 29.9 m ahead and 5 m up, which is beyond 30 m.
    boxes = np.array([[29.9, 0, 5, *SIZES['Car'], 0]], np.float32)
    truth = WaymoTruth('a/1', boxes, np.array(['Car']), np.array([2]))
    numbers = waymo_ap([truth], perfect([truth]))
    assert numbers['Car/AP/L2'] == numbers['Car/AP/L2/[30, 50)'] == numbers['mean/AP/L2'] == 1
    nans = ('Car/AP/L1', 'Car/AP/L2/[0, 30)', 'Cyclist/AP/L2', 'mean/AP/L2/[0, 30)', 'mean/APH/L1')
    assert all(math.isnan(numbers[key]) for key in nans)
    assert numbers['Cyclist/objects/L2'] == 0
    # Waymo's operator says 0 there, or at level 1 that a found object of level 2 is a hit.
    for kind, level, where in (('Cyclist', 2, ''), ('Cyclist', 1, '/[0, 30)'), ('Car', 2, '/[0, 30)')):
        assert measured[TYPES[kind], level, where] == (0, 0)
    assert measured[TYPES['Car'], 1, ''] == measured[TYPES['Car'], 2, ''] == (1, 1)


@pytest.mark.parametrize(
    'change, said',
    [
        (lambda t, d: (t, d[1:]), '1 frames with either .* such as segment0/'),
        (lambda t, d: (t, [*d, d[0]]), 'detections of the frame segment0/.* twice'),
        (lambda t, d: ([*t, t[2]], d), 'ground truth of the frame segment0/.* twice'),
        (lambda t, d: (t, [replace(d[0], scores=d[0].scores + 1), *d[1:]]), 'scores from'),
        (lambda t, d: (t, [replace(d[0], names=np.full(len(d[0].names), 'Bus')), *d[1:]]), r"classes \['Bus'\]"),
        (lambda t, d: (t[1:2], d[1:2]), '1 frames without one object'),
    ],
)
def test_what_cannot_be_scored_is_refused(change, said):
    truths = make_truths(frames=3)
    with pytest.raises(InputError, match=said):
        waymo_ap(*change(truths, perfect(truths)))


@pytest.mark.parametrize(
    'column, value, said',
    [
        ('names', np.array(['Bus']), "classes .'Bus'."),
        ('difficulty', np.array([0]), 'difficulties .0.'),
        ('difficulty', np.array([1, 2]), '1 boxes, 1 names and 2 difficulties'),
        ('boxes_lidar', np.full((1, 7), np.nan), 'NaN'),
    ],
)
def test_truth_that_is_no_truth_is_refused(column, value, said):
    columns = dict(boxes_lidar=np.ones((1, 7)), names=np.array(['Car']), difficulty=np.array([1]))
    with pytest.raises(InputError, match=f'frame a/1 with .*{said}'):
        WaymoTruth('a/1', **{**columns, column: value})


def write_infos(path, truths):
    records = [
        dict(
            frame_id=truth.frame_id,
            instances=[
                dict(bbox_3d=box, bbox_label_3d=CLASSES.index(name), difficulty=int(level))
                for box, name, level in zip(truth.boxes_lidar.tolist(), truth.names, truth.difficulty)
            ],
        )
        for truth in truths
    ]
    metainfo = dict(dataset='waymo_detection', categories={name: label for label, name in enumerate(CLASSES)})
    path.write_bytes(pickle.dumps(dict(metainfo=metainfo, data_list=records)))
    return path


def sample_of(found):
    """A frame after the detector, as mmengine's loops hand it to an evaluator."""
    sample = Det3DDataSample(metainfo=dict(frame_id=found.frame_id))
    sample.pred_instances_3d = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(torch.from_numpy(found.boxes_lidar)),
        scores_3d=torch.from_numpy(found.scores),
        labels_3d=torch.tensor([CLASSES.index(name) for name in found.names], dtype=torch.int64),
    )
    return sample.to_dict()


@pytest.fixture
def truths():
    return make_truths(frames=4)


@pytest.fixture
def metric(tmp_path, truths):
    """The metric with an info file of four frames."""
    options = dict(predictions_file=str(tmp_path / 'found.npz'), submission_file=str(tmp_path / 'found.bin'))
    metric = METRICS.build(
        dict(type='WaymoAPMetric', ann_file=str(write_infos(tmp_path / 'infos.pkl', truths)), **options)
    )
    metric.dataset_meta = dict(classes=CLASSES)
    return metric


def test_the_metric_scores_the_frames_that_it_saw_and_writes_what_it_was_given(metric, truths, tmp_path):
    seen = truths[:3]  # of four: a subset is a set
    detections = imperfect(seen)
    metric.process({}, [sample_of(found) for found in detections])
    numbers = metric.evaluate(len(seen))
    expected = {f'waymo/{key}': value for key, value in waymo_ap(seen, detections, CLASSES).items()}
    assert numbers.pop('waymo/frames') == 3 and numbers == pytest.approx(expected, abs=1e-6, nan_ok=True)
    written = read_detections(tmp_path / 'found.npz')
    assert list(written) == [found.frame_id for found in detections]
    objects = Objects.FromString((tmp_path / 'found.bin').read_bytes()).objects
    assert len(objects) == sum(len(found.scores) for found in detections)
    first, box = objects[0], detections[0].boxes_lidar[0]
    assert f'{first.context_name}/{first.frame_timestamp_micros}' == detections[0].frame_id
    assert first.score == detections[0].scores[0]
    middle = [first.object.box.center_x, first.object.box.center_y, first.object.box.center_z]
    np.testing.assert_allclose(middle, [box[0], box[1], box[2] + box[5] / 2], rtol=1e-5)


def test_missing_repeated_and_strange_frames_are_refused(metric, truths):
    found = perfect(truths)
    metric.process({}, [sample_of(each) for each in found[:3]])
    with pytest.raises(InputError, match='3 frames with predictions of a set of 4'):
        metric.evaluate(4)
    metric.results.clear()
    metric.process({}, [sample_of(each) for each in [*found[:3], found[0]]])
    with pytest.raises(InputError, match='3 frames with predictions of a set of 4'):
        metric.evaluate(4)
    with pytest.raises(InputError, match=r"'segment9/1', which is not in .*infos\.pkl"):
        metric.process({}, [sample_of(replace(found[0], frame_id='segment9/1'))])


def test_an_info_file_without_levels_is_refused(metric, truths, tmp_path):
    path = tmp_path / 'infos.pkl'
    infos = pickle.loads(path.read_bytes())
    del infos['data_list'][0]['instances'][0]['difficulty']
    path.write_bytes(pickle.dumps(infos))
    with pytest.raises(InputError, match=r"infos\.pkl, a frame of which lacks 'difficulty'"):
        metric.process({}, [sample_of(perfect(truths)[0])])


def test_a_missing_package_is_named_before_the_test(monkeypatch):
    monkeypatch.setattr('cleverdistiller.evaluation.waymo_ap.find_spec', lambda name: None)
    with pytest.raises(InputError, match='pip install waymo-open-dataset'):
        METRICS.build(dict(type='WaymoAPMetric', ann_file='infos.pkl'))
