"""Made-up Waymo records of a LiDAR with four beams, read through Waymo's own code."""

import pytest

pytest.importorskip('waymo_open_dataset')

import io
import zlib
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from waymo_open_dataset import dataset_pb2, label_pb2

from cleverdistiller.datasets.palette import OTHER, colour_of
from cleverdistiller.errors import InputError
from cleverdistiller.visualization.readers import read_frame
from cleverdistiller.visualization.readers.waymo import CLASS_NAMES
from frame_views import made_up_view

BEAMS, COLUMNS = 4, 12
INCLINATIONS = np.array([-0.3, -0.2, -0.05, 0.02])  # lowest first; row 0 of a range image is the highest
LIDAR_AT_M, CAR_AT_FIRING_M = np.array([1.4, 0, 2.2]), np.array([0.5, 0.0, 0.0])  # the car moved by half a metre
CAR_AT_SHUTTER_M = np.array([0.25, 0.1, 0])


def packed(kind, array) -> bytes:
    message = kind(data=np.asarray(array).ravel().tolist())
    message.shape.dims.extend(np.shape(array))
    return zlib.compress(message.SerializeToString())


def shift(offset_m) -> list[float]:
    matrix = np.eye(4)
    matrix[:3, 3] = offset_m
    return matrix.ravel().tolist()


def make_frame(labelled: bool = True, distortion: float = 0.0) -> tuple[dataset_pb2.Frame, np.ndarray, np.ndarray]:
    """A frame, its points (N, 3) in the car's frame by plain trigonometry, and their classes from 1 (0: undefined)."""
    rng = np.random.default_rng(0)
    frame = dataset_pb2.Frame(timestamp_micros=7)
    frame.context.name = 'segment'
    frame.pose.transform.extend(shift((0, 0, 0)))
    # A second LiDAR, of which the frame has no range image: the reader is to leave it alone.
    for name in (dataset_pb2.LaserName.TOP, dataset_pb2.LaserName.REAR):
        calibration = frame.context.laser_calibrations.add(name=name, beam_inclinations=INCLINATIONS)
        calibration.extrinsic.transform.extend(shift(LIDAR_AT_M))
    laser = frame.lasers.add(name=dataset_pb2.LaserName.TOP)
    pose = np.zeros((BEAMS, COLUMNS, 6))
    pose[..., 3:] = CAR_AT_FIRING_M
    laser.ri_return1.range_image_pose_compressed = packed(dataset_pb2.MatrixFloat, pose)
    points, classes = [], []
    for echo in (laser.ri_return1, laser.ri_return2):
        range_m = np.where(rng.random((BEAMS, COLUMNS)) < 0.7, rng.uniform(3, 40, (BEAMS, COLUMNS)), -1.0)
        kinds = rng.integers(0, len(CLASS_NAMES) + 1, (BEAMS, COLUMNS))
        image = np.stack([range_m, *np.zeros((3, BEAMS, COLUMNS))], -1)
        echo.range_image_compressed = packed(dataset_pb2.MatrixFloat, image)
        if labelled:
            both = np.stack([np.full_like(kinds, 99), kinds], -1)  # instance, class
            echo.segmentation_label_compressed = packed(dataset_pb2.MatrixInt32, both)
        for row in range(BEAMS):
            for column in range(COLUMNS):
                if range_m[row, column] > 0:
                    up, around = INCLINATIONS[BEAMS - 1 - row], np.pi - (column + 0.5) * 2 * np.pi / COLUMNS
                    ray = np.array([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)])
                    points.append(range_m[row, column] * ray + LIDAR_AT_M + CAR_AT_FIRING_M)
                    classes.append(kinds[row, column])
    for name in ('FRONT', 'SIDE_LEFT'):
        _add_camera(frame, dataset_pb2.CameraName.Name.Value(name), distortion)
    label = frame.laser_labels.add(type=label_pb2.Label.TYPE_CYCLIST)
    for name, value in zip(
        ('center_x', 'center_y', 'center_z', 'length', 'width', 'height', 'heading'), (9, 2, 1, 2, 1, 1.7, 0.5)
    ):
        setattr(label.box, name, value)
    return frame, np.array(points), np.array(classes)


def _add_camera(frame, name: int, distortion: float) -> None:
    calibration = frame.context.camera_calibrations.add(name=name, width=96, height=64)
    calibration.intrinsic.extend([60, 61, 48, 32, distortion, 0, 0, 0, 0])
    calibration.extrinsic.transform.extend(shift((1.5, 0, 2)))
    picture, image = io.BytesIO(), frame.images.add(name=name)
    stripes = np.zeros((64, 96, 3), np.uint8)
    stripes[:, 8] = 255
    Image.fromarray(stripes).save(picture, 'PNG')  # Waymo's are JPEG, whose stripes are less sharp
    image.image = picture.getvalue()
    image.pose.transform.extend(shift(CAR_AT_SHUTTER_M))


def write_records(path: Path, *frames) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as file:
        for frame in frames:
            file.write(frame.SerializeToString())
    return path


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    """A labelled frame and an unlabelled one in one file, a third frame in the next file."""
    root = tmp_path_factory.mktemp('waymo')
    bare = make_frame(labelled=False, distortion=0.3)[0]
    write_records(root / 'training' / 'a.tfrecord', make_frame()[0], bare)
    write_records(root / 'validation' / 'b.tfrecord', make_frame()[0])
    return root


def test_points_of_both_returns_lie_where_trigonometry_puts_them(root):
    view, (_, points, classes) = read_frame(root, 0), make_frame()
    np.testing.assert_allclose(view.points_lidar_m, points, atol=1e-4)
    np.testing.assert_array_equal(view.labels, classes - 1)
    np.testing.assert_allclose(view.boxes_lidar_m, [[9, 2, 1, 2, 1, 1.7, 0.5]])
    assert view.box_names == ('cyclist',) and view.points_per_class()['unlabelled'] == (classes == 0).sum()


def test_a_camera_looks_along_x_from_where_the_car_was_at_the_shutter(root):
    rows = read_frame(root, 0).camera_rows
    assert [[camera.name for camera in row] for row in rows] == [['FRONT'], ['SIDE_LEFT']]
    x, y, z = point = np.array([20.0, 3, 1])  # in the car's frame at the frame's time
    ahead, left, up = point - CAR_AT_SHUTTER_M - (1.5, 0, 2)
    u, v, depth = rows[0][0].cam2img @ (rows[0][0].lidar2cam @ (x, y, z, 1))[:3]
    np.testing.assert_allclose([u / depth, v / depth, depth], [48 - 60 * left / ahead, 32 - 61 * up / ahead, ahead])


def test_distortion_is_taken_out(root):
    """A stripe left of the middle, seen through a lens that pushes outwards, moves back inwards."""
    stripe = [read_frame(root, index).camera_rows[0][0].rgb[32, :, 0].argmax() for index in (0, 1)]
    undistorted = (stripe[1] - 48) / 60
    assert stripe[0] == 8 and abs(undistorted * (1 + 0.3 * undistorted**2) * 60 + 48 - 8) < 1.5


def test_frames_are_counted_over_files_and_one_file_will_do(root):
    assert read_frame(root, 1).labels is None and 'validation' in read_frame(root, 2).title
    assert 'frame 1' in read_frame(root / 'training' / 'a.tfrecord', 1).title
    with pytest.raises(InputError, match='0 to 2'):
        read_frame(root, 3)
    with pytest.raises(InputError, match='0 to 2'):
        read_frame(root, -1)


def test_damaged_records_are_named(root, tmp_path):
    whole = (root / 'training' / 'a.tfrecord').read_bytes()
    short = tmp_path / 'short.tfrecord'
    short.write_bytes(whole[:-9])
    assert read_frame(short, 0).box_names == ('cyclist',)
    with pytest.raises(InputError, match='ends within'):
        read_frame(short, 1)
    with tf.io.TFRecordWriter(str(short)) as file:
        file.write(b'no frame at all')
    with pytest.raises(InputError, match='Frame records'):
        read_frame(short, 0)


def test_no_two_classes_look_alike():
    colours = [colour_of(name) for name in CLASS_NAMES]
    assert len(set(colours)) == len(CLASS_NAMES) == 22 and OTHER not in colours
    assert made_up_view(labels=np.array([21, 0, -1]), class_names=CLASS_NAMES).points_per_class()['sidewalk'] == 1
