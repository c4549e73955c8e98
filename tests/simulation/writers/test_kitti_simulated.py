"""A real simulated frame through both KITTI layouts: what the files say agrees with what the sensors met."""

import numpy as np
import pytest
from mmdet3d.structures.ops.box_np_ops import box_camera_to_lidar, points_in_rbbox

from cleverdistiller.simulation.sensors.recording import simulate_frame
from cleverdistiller.simulation.sensors.rigs import KITTI, KITTI_R0_RECT, KITTI_VELO_TO_CAM, rigid
from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.writers.kitti_writer import label_rows
from cleverdistiller.simulation.writers.semantickitti_writer import point_labels


@pytest.fixture(scope='module')
def frame(scene):
    return simulate_frame(scene, KITTI, 16)


def labelled(frame):
    """Objects with a label, and their rows."""
    for one in frame.objects:
        alone = type(frame)(**vars(frame) | dict(objects=(one,)))
        for row in label_rows(alone):
            if not row.startswith('DontCare'):
                yield one, np.array(row.split()[1:], float)


def test_boxes_hold_the_points_of_their_objects(frame):
    things, rows = zip(*labelled(frame))
    rows = np.array(rows)
    boxes = np.concatenate([rows[:, 10:13], rows[:, [9, 7, 8]], rows[:, 13:]], 1)
    in_lidar = box_camera_to_lidar(
        boxes, rigid(KITTI_R0_RECT, (0, 0, 0)), rigid(KITTI_VELO_TO_CAM[:, :3], KITTI_VELO_TO_CAM[:, 3])
    )
    inside = points_in_rbbox(frame.scan.points_lidar_m, in_lidar)
    own = np.stack([frame.scan.instance == one.instance for one in things], 1)
    assert own.sum() > 2000 and len(things) > 10
    assert inside.sum() == pytest.approx(own.sum(), rel=0.01)
    assert (inside & own).sum() > 0.99 * own.sum()
    many = own.sum(0) >= 100  # of fewer, a point of the road is more than one in a hundred
    assert many.sum() > 5 and np.allclose(inside.sum(0)[many], own.sum(0)[many], rtol=0.02)


def test_boxes_hold_the_pixels_of_their_objects(frame):
    image, found = frame.images['image_2'], 0
    for one, (truncated, _, _, left, top, right, bottom, *_) in labelled(frame):
        if truncated == 0 and one.instance in image.instance:
            v, u = np.nonzero(image.instance == one.instance)
            # The box leans against the object by the car's own pitch and the camera's.
            assert left - 2 <= u.min() and u.max() <= right + 2, one
            assert top - 8 <= v.min() and v.max() <= bottom + 8, one
            found += 1
    assert found > 10


def test_point_labels_hold_classes_and_instances(frame):
    labels = point_labels(frame)
    semantic, instance = labels & 0xFFFF, labels >> 16
    assert np.array_equal(semantic == 70, frame.scan.surface == SurfaceClass.VEGETATION)
    cars = np.isin(semantic, [10, 252])
    assert np.array_equal(cars, frame.scan.surface == SurfaceClass.CAR) and cars.any()
    assert np.array_equal(instance[cars], frame.scan.instance[cars])
    assert {40, 48, 50} <= set(semantic.tolist()) and not instance[semantic < 10].any()
