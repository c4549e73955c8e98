"""Labels from info files, and detections in the camera against mmdet3d's KittiMetric."""

import dataclasses

import numpy as np
import pytest
from mmdet3d.evaluation import KittiMetric
from predicted_boxes import CLASSES, HEIGHT, WIDTH, detected, random_boxes, record_of, write_info_file

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_predictions import FrameDetections
from cleverdistiller.evaluation.kitti_frame import read_kitti_frames
from cleverdistiller.evaluation.lidar_detections import lidar_detections


def around_the_car(count: int):
    """Detections everywhere: behind the camera, beside the image, out of range."""
    labels = np.random.randint(3, size=count)
    boxes = random_boxes(count, labels)
    boxes[:, :3] = np.random.uniform([-5, -45, -4], [80, 45, 1], (count, 3))
    return detected('000007', boxes, labels, np.random.rand(count))


def found_in(sample):
    return lidar_detections(sample.to_dict(), CLASSES)


def test_equals_mmdet3d_s_conversion(tmp_path):
    path = write_info_file(tmp_path / 'infos.pkl', [record_of(7)])
    sample = around_the_car(400)
    ours = read_kitti_frames(str(path))['000007'].in_camera(found_in(sample))

    metric = KittiMetric(str(path))
    metric.data_infos = [record_of(7)]
    [theirs] = metric.bbox2result_kitti([sample.pred_instances_3d], [0], CLASSES)
    assert 50 < len(theirs['name']) < 350
    np.testing.assert_array_equal(ours.name, theirs['name'])
    np.testing.assert_array_equal(ours.score, theirs['score'])
    np.testing.assert_allclose(ours.box_px, theirs['bbox'], atol=1e-3)
    location = np.hstack([theirs['location'], theirs['dimensions'], theirs['rotation_y'][:, None]])
    np.testing.assert_allclose(ours.box_cam, location, atol=1e-5)
    far = ours.box_cam[:, 2] > 20  # where the way from LiDAR to camera hardly changes the angle
    turn = ours.alpha - theirs['alpha']
    np.testing.assert_allclose(np.cos(turn[far]), 1, atol=1e-3)
    assert (np.abs(ours.alpha) <= np.pi).all()


def test_without_a_range_all_that_the_image_shows_is_kept(tmp_path):
    frame = read_kitti_frames(str(write_info_file(tmp_path / 'infos.pkl', [record_of(7)])))['000007']
    found = found_in(around_the_car(400))
    near, all_seen = frame.in_camera(found), frame.in_camera(found, range_m=None)
    assert set(near.score) < set(all_seen.score)
    assert (all_seen.box_px >= 0).all() and (all_seen.box_px <= [WIDTH, HEIGHT] * 2).all()
    assert len(frame.in_camera(found_in(detected('000007'))).name) == 0


def test_a_corner_beside_the_camera_is_projected_to_the_border(tmp_path):
    frame = read_kitti_frames(str(write_info_file(tmp_path / 'infos.pkl', [record_of(7)])))['000007']
    to_camera = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    without_shift = np.hstack([frame.cam2img[:3, :3], np.zeros((3, 1))])
    frame = dataclasses.replace(frame, lidar2cam=to_camera, cam2img=without_shift)
    # Across the view, its rear in the camera's plane or just before it; in double precision, so that it is.
    boxes = np.array([[1 + step, -1.5, -1, 1, 2, 1, -np.pi / 2] for step in (0, 1e-6)])
    found = FrameDetections('000007', boxes, np.ones(2), np.full(2, 'Car'))
    with np.errstate(all='raise'):
        beside, before = frame.in_camera(found).box_px
    np.testing.assert_allclose(beside, before, rtol=1e-5)
    assert beside[2] == WIDTH and (beside[:2] > 0).all()


def test_labels_come_back_from_the_info_file(tmp_path):
    boxes = random_boxes(3, np.array([2, 0, 0]))
    record = record_of(7, boxes, [2, 3, -1], occluded=[2, 0, -1], truncated=[0.3, 0, -1])
    truth = read_kitti_frames(str(write_info_file(tmp_path / 'infos.pkl', [record])))['000007'].truth
    assert list(truth.name) == ['Car', 'Van', 'DontCare']
    assert list(truth.occluded) == [2, 0, -1] and list(truth.truncated) == [0.3, 0, -1]
    for row, instance in enumerate(record['instances']):
        assert list(truth.box_px[row]) == instance['bbox'] and list(truth.box_cam[row]) == instance['bbox_3d']


@pytest.mark.parametrize(
    ('change', 'complaint'),
    [
        (lambda record: record['images']['CAM2'].pop('lidar2cam'), "12 without 'lidar2cam'"),
        (lambda record: record['instances'][1].pop('occluded'), "12 without 'occluded'"),
        (lambda record: record['instances'][0].update(bbox_label=9), '12 without 9'),
        (lambda record: record['instances'][0].update(bbox=[0, np.nan, 1, 1]), '12 where box_px is NaN'),
        (lambda record: record['images']['CAM2'].update(cam2img=np.full((4, 4), np.nan)), '12 where cam2img is NaN'),
        (lambda record: record['instances'][1].update(bbox_3d=[0, 1, 2]), '12 where'),
    ],
)
def test_broken_records_are_refused(tmp_path, change, complaint):
    record = record_of(12, random_boxes(2, np.array([0, 2])), [0, 2])
    change(record)
    path = write_info_file(tmp_path / 'infos.pkl', [record_of(11), record])
    with pytest.raises(InputError, match=rf'infos\.pkl with the frame {complaint}(.|\n)*prepare_kitti'):
        read_kitti_frames(str(path))


@pytest.mark.parametrize(
    ('sample', 'complaint'),
    [
        (detected(None), r'frame id None(.|\n)*meta_keys'),
        (detected('000001', random_boxes(1, np.array([0])), [3], [1]), r'labels up to 3.*000001'),
        (detected('000001', np.full((1, 7), np.nan), [0], [1]), r'000001.* NaN'),
    ],
)
def test_broken_predictions_are_refused(sample, complaint):
    with pytest.raises(InputError, match=complaint):
        found_in(sample)


def test_boxes_in_another_frame_are_refused():
    sample = detected('000001').to_dict()
    sample['pred_instances_3d']['bboxes_3d'] = sample['pred_instances_3d']['bboxes_3d'].convert_to(1)
    with pytest.raises(InputError, match='CameraInstance3DBoxes'):
        lidar_detections(sample, CLASSES)
