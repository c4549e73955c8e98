"""KITTI's numbers from an info file and a detector's output."""

import json
import math

import numpy as np
import pytest
from mmengine.logging import MMLogger
from predicted_boxes import CLASSES, detected, random_boxes, record_of, write_info_file
from predicted_frames import evaluate

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation import KittiAPMetric
from cleverdistiller.evaluation.detection_predictions import read_detections
from cleverdistiller.evaluation.kitti_ap import kitti_ap
from cleverdistiller.evaluation.kitti_frame import read_kitti_frames
from cleverdistiller.evaluation.lidar_detections import lidar_detections
from cleverdistiller.provenance import write_results


@pytest.fixture
def drive(tmp_path):
    """Info file of frames 100, 103, ... with two cars and a pedestrian each, and detections that see most of them."""
    np.random.seed(3)
    labels = np.array([2, 2, 0])
    records, frames = [], []
    for sample_idx in range(100, 190, 3):
        boxes = random_boxes(3, labels)
        records.append(record_of(sample_idx, boxes, labels))
        seen = np.random.rand(3) < 0.8
        near = boxes[seen] + np.random.normal(0, 0.08, (seen.sum(), 7)).astype(np.float32)
        wrong = random_boxes(2, np.array([1, 2]))
        found = (np.vstack([near, wrong]), [*labels[seen], 1, 2], [*np.random.rand(seen.sum()), *np.random.rand(2) / 2])
        frames.append(detected(f'{sample_idx:06d}', *found))
    return write_info_file(tmp_path / 'infos.pkl', records), frames


def test_scores_what_the_info_file_says_of_the_predicted_frames(drive, tmp_path):
    infos, frames = drive
    known = read_kitti_frames(str(infos))
    for chosen in (frames, frames[::-2]):  # any subset, in any order
        numbers = evaluate(KittiAPMetric(str(infos)), chosen, CLASSES)
        truths = [known[frame.frame_id].truth for frame in chosen]
        found = [known[frame.frame_id].in_camera(lidar_detections(frame.to_dict(), CLASSES)) for frame in chosen]
        expected = dict(frames=len(chosen), **kitti_ap(truths, found, CLASSES))
        assert numbers == pytest.approx({f'kitti/{name}': value for name, value in expected.items()}, nan_ok=True)
    assert 0.2 < numbers['kitti/mean/3d/AP_R40/moderate'] < 0.9
    assert math.isnan(numbers['kitti/Cyclist/2d/AOS_R11/easy']) and numbers['kitti/Cyclist/objects/easy'] == 0
    write_results(tmp_path / 'results.json', numbers, {})
    assert json.loads((tmp_path / 'results.json').read_text())['kitti/Cyclist/3d/AP_R40/hard'] is None


def test_labels_found_exactly_reach_the_cap(tmp_path):
    boxes = [random_boxes(1, np.array([0])) for _ in range(12)]
    infos = write_info_file(tmp_path / 'infos.pkl', [record_of(i, box, [0]) for i, box in enumerate(boxes)])
    exact = [detected(f'{i:06d}', box, [0], [1 - i / 100]) for i, box in enumerate(boxes)]
    none = [detected(f'{i:06d}') for i in range(12)]
    for frames, value in ((exact, 11 / 40), (exact[:5] + none[5:], 4 / 40), (none, 0)):
        numbers = evaluate(KittiAPMetric(str(infos)), frames, CLASSES)
        assert numbers['kitti/Pedestrian/objects/hard'] == 12
        for name in ('3d/AP', 'bev/AP', '2d/AP', '2d/AOS'):
            assert numbers[f'kitti/mean/{name}_R40/hard'] == pytest.approx(value)


def test_detections_are_left_on_disk(drive, tmp_path):
    infos, frames = drive
    path = tmp_path / 'found' / 'detections.npz'
    evaluate(KittiAPMetric(str(infos), predictions_file=str(path)), frames, CLASSES)
    read = read_detections(path)
    assert list(read) == [frame.frame_id for frame in frames]
    found = frames[4].pred_instances_3d
    np.testing.assert_array_equal(read[frames[4].frame_id].boxes_lidar, found.bboxes_3d.tensor.numpy())
    assert list(read[frames[4].frame_id].names) == [CLASSES[label] for label in found.labels_3d]


def test_loose_overlaps_have_names_of_their_own(drive):
    infos, frames = drive
    metrics = [KittiAPMetric(str(infos)), KittiAPMetric(str(infos), min_overlaps='loose')]
    numbers = evaluate(metrics, frames, CLASSES)
    assert numbers['kitti_loose/Car/3d/AP_R40/moderate'] > numbers['kitti/Car/3d/AP_R40/moderate']
    assert numbers['kitti_loose/Car/2d/AP_R40/moderate'] == numbers['kitti/Car/2d/AP_R40/moderate']


def test_prints_a_table_and_warns_of_small_sets(drive, tmp_path):
    infos, frames = drive
    MMLogger.get_instance('kitti_table', log_file=str(tmp_path / 'log'))
    numbers = evaluate(KittiAPMetric(str(infos)), frames, CLASSES)
    lines = (tmp_path / 'log').read_text().splitlines()
    [car] = [line.split() for line in lines if line.startswith('Car') and ' 3d ' in line]
    assert car[3] == f'{100 * numbers["kitti/Car/3d/AP_R40/moderate"]:.2f}'
    assert car[5] == f'{100 * numbers["kitti/Car/3d/AP_R11/easy"]:.2f}'
    assert [line.split()[2:] for line in lines if line.startswith('Cyclist    bev')] == [['-'] * 6]
    assert sum('cannot exceed' in line for line in lines) == 1  # there are enough cars


@pytest.mark.parametrize(
    ('change', 'complaint'),
    [
        (lambda frames: frames[:2] + frames[:1], r'2 frames with predictions of a set of 3(.|\n)*exactly once'),
        (lambda frames: [detected('000101')], r"'000101', which is not in (.|\n)*infos\.pkl"),
        (lambda frames: [detected('100')], "'100', which is not in"),
    ],
)
def test_frames_that_cannot_be_scored_are_refused(drive, change, complaint):
    infos, frames = drive
    with pytest.raises(InputError, match=complaint):
        evaluate(KittiAPMetric(str(infos)), change(frames), CLASSES)


def test_a_set_that_was_not_finished_is_refused(drive):
    infos, frames = drive
    with pytest.raises(InputError, match='28 frames with predictions of a set of 30'):
        evaluate(KittiAPMetric(str(infos)), frames[:28], CLASSES, size=30)


def test_nothing_to_score_against_is_refused(tmp_path):
    infos = write_info_file(tmp_path / 'test.pkl', [{**record_of(0), 'instances': []}])
    with pytest.raises(InputError, match=r'without one label in .*test\.pkl(.|\n)*KittiSubmission'):
        evaluate(KittiAPMetric(str(infos)), [detected('000000')], CLASSES)
    with pytest.raises(InputError, match=r'strict(.|\n)*official'):
        KittiAPMetric(str(infos), min_overlaps='strict')
    with pytest.raises(InputError, match='prepare_kitti'):
        evaluate(KittiAPMetric(str(tmp_path / 'none.pkl')), [detected('000000')], CLASSES)
