"""Points and labels out of Waymo's records, against the simulator's truth and a loop over pixels."""

import pytest

pytest.importorskip('waymo_open_dataset')

import math
import struct
import zlib

import numpy as np
import tensorflow as tf
from waymo_open_dataset.dataset_pb2 import Frame, LaserName, MatrixFloat, MatrixInt32

from cleverdistiller.datasets.waymo_records import (
    check_records,
    damage_named,
    detection_points,
    is_labelled,
    labelled_frames,
    labelled_points,
    read_frame,
    record_spans,
)
from cleverdistiller.errors import InputError
from waymo_root import FRAMES, LABELLED, expected_cloud, read_records, write_records, write_waymo_root

REAR_SHAPE = (3, 8)


@pytest.fixture(scope='module')
def root(tmp_path_factory, scene):
    """The folder, and what was seen in it."""
    folder = tmp_path_factory.mktemp('waymo')
    return folder, write_waymo_root(folder, scene)


@pytest.fixture(scope='module')
def path(root):
    return min((root[0] / 'training').iterdir())


def unpacked(kind, compressed):
    matrix = kind.FromString(zlib.decompress(compressed))
    return np.array(matrix.data).reshape(matrix.shape.dims)


def packed(values):
    matrix = MatrixFloat(data=values.ravel().tolist())
    matrix.shape.dims.extend(values.shape)
    return zlib.compress(matrix.SerializeToString())


def with_rear_laser(frame, rng):
    """The frame with a short-range LiDAR before the TOP one: no labels, no pose, no table of inclinations."""
    frame = Frame.FromString(frame.SerializeToString())
    top = frame.lasers.pop()
    rear = frame.lasers.add(name=LaserName.REAR)
    for image in (rear.ri_return1, rear.ri_return2):
        range_m = np.where(rng.random(REAR_SHAPE) < 0.6, rng.uniform(1, 20, REAR_SHAPE), -1)
        image.range_image_compressed = packed(
            np.stack([range_m, rng.uniform(0, 3, REAR_SHAPE), range_m, range_m], axis=-1)
        )
    frame.lasers.append(top)
    calibration = frame.context.laser_calibrations.add(
        name=LaserName.REAR, beam_inclination_min=-1.2, beam_inclination_max=0.3
    )
    turned = [[-0.8, 0.6, 0, -1.0], [-0.6, -0.8, 0, 0.1], [0, 0, 1, 0.5], [0, 0, 0, 1]]
    calibration.extrinsic.transform.extend(np.ravel(turned))
    return frame


def turn(roll, pitch, yaw):
    (cr, sr), (cp, sp), (cy, sy) = [(math.cos(a), math.sin(a)) for a in (roll, pitch, yaw)]
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    return np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]]) @ about_y @ about_x


def slow_points(frame):
    """Slow twin: pixel by pixel, LiDAR after LiDAR, return after return."""
    lasers = {laser.name: laser for laser in frame.lasers}
    calibrations = {each.name: each for each in frame.context.laser_calibrations}
    poses = unpacked(MatrixFloat, lasers[LaserName.TOP].ri_return1.range_image_pose_compressed)
    world2car = np.linalg.inv(np.reshape(frame.pose.transform, (4, 4)))
    rows = []
    for which in ('ri_return1', 'ri_return2'):
        for name in (LaserName.TOP, LaserName.REAR):
            image = getattr(lasers[name], which)
            measured = unpacked(MatrixFloat, image.range_image_compressed)
            compressed = image.segmentation_label_compressed
            labels = unpacked(MatrixInt32, compressed) if compressed else np.zeros((*measured.shape[:2], 2))
            extrinsic = np.reshape(calibrations[name].extrinsic.transform, (4, 4))
            height, width, _ = measured.shape
            low, high = calibrations[name].beam_inclination_min, calibrations[name].beam_inclination_max
            up = [low + (i + 0.5) / height * (high - low) for i in range(height)]
            up = list(calibrations[name].beam_inclinations) or up
            for row in range(height):
                for column in range(width):
                    range_m, intensity, elongation, zone = measured[row, column]
                    if range_m <= 0:
                        continue
                    elevation = up[height - 1 - row]
                    # In the car's frame, so the sensor's own turn is taken off.
                    azimuth = math.pi - (column + 0.5) / width * 2 * math.pi
                    azimuth -= math.atan2(extrinsic[1, 0], extrinsic[0, 0])
                    ray = [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth)]
                    point = extrinsic @ [*(range_m * np.array([*ray, math.sin(elevation)])), 1]
                    if name == LaserName.TOP:
                        angles, shift = poses[row, column, :3], poses[row, column, 3:]
                        point = world2car @ [*(turn(*angles) @ point[:3] + shift), 1]
                    raw = intensity, elongation, zone
                    rows.append([*point[:3], math.tanh(intensity), labels[row, column, 1], *raw])
    return np.array(rows)


def test_points_and_labels_are_what_was_simulated(root):
    folder, seen = root
    compared = 0
    for segment, path in enumerate(sorted(folder.glob('*/*.tfrecord'))):
        for sweep, frame in zip(seen[segment], labelled_frames(path)):
            points, labels = labelled_points(frame)
            expected, ids = expected_cloud(sweep)
            assert points.dtype == np.float32 and labels.dtype == np.uint8 and len(points) > 1000
            np.testing.assert_allclose(points, expected, atol=0.002)
            np.testing.assert_array_equal(labels, ids)
            compared += 1
    assert compared == 6 and (seen[0][0].echo == 1).any()


def test_lasers_are_sorted_and_those_without_labels_get_zeros(path):
    frame = with_rear_laser(next(labelled_frames(path)), np.random.default_rng(0))
    points, labels = labelled_points(frame)
    expected = slow_points(frame)
    np.testing.assert_allclose(points, expected[:, :4], atol=0.002)
    np.testing.assert_array_equal(labels, expected[:, 4])
    alone, top_labels = labelled_points(frame, [LaserName.TOP])
    assert 0 < len(points) - len(alone) < 2 * np.prod(REAR_SHAPE) and len(top_labels) == len(alone)
    rear, rear_labels = labelled_points(frame, [LaserName.REAR])
    assert len(rear) + len(alone) == len(points) and not rear_labels.any()


def test_detection_keeps_what_was_recorded_and_leaves_no_label_zones_out(path):
    rng = np.random.default_rng(0)
    frame = with_rear_laser(next(labelled_frames(path)), rng)
    for laser in frame.lasers:
        image = unpacked(MatrixFloat, laser.ri_return1.range_image_compressed)
        image[..., 2] = rng.uniform(0, 2, image.shape[:2])
        image[..., 3] = rng.choice([-1.0, 0.0, 1.0], image.shape[:2])
        laser.ri_return1.range_image_compressed = packed(image)
    expected = slow_points(frame)
    outside = expected[:, 7] != 1
    points = detection_points(frame)
    assert 0 < len(points) == outside.sum() < len(expected) and points.dtype == np.float32
    np.testing.assert_allclose(points, expected[outside][:, [0, 1, 2, 5, 6]], atol=0.002)
    first = detection_points(frame, returns=1)
    assert len(first) < len(points)
    np.testing.assert_array_equal(first, points[: len(first)])


def test_a_return_without_an_image_or_labels_is_no_obstacle(path):
    frame = next(labelled_frames(path))
    points, labels = labelled_points(frame)
    first = np.count_nonzero(unpacked(MatrixFloat, frame.lasers[0].ri_return1.range_image_compressed)[..., 0] > 0)
    frame.lasers[0].ri_return2.ClearField('segmentation_label_compressed')
    np.testing.assert_array_equal(labelled_points(frame)[1], np.where(np.arange(len(labels)) < first, labels, 0))
    frame.lasers[0].ClearField('ri_return2')
    np.testing.assert_array_equal(labelled_points(frame)[0], points[:first])


def test_records_are_found_and_unlabelled_ones_left_out(path):
    every = read_records(path)
    assert [read_frame(path, span) for span in record_spans(path)] == every and len(every) == FRAMES
    assert [is_labelled(frame) for frame in every] == [index in LABELLED for index in range(FRAMES)]
    assert list(labelled_frames(path)) == [every[index] for index in LABELLED]


def test_a_frame_without_the_top_lidar_is_named(path):
    frame = next(labelled_frames(path))
    frame.ClearField('lasers')
    with pytest.raises(InputError, match=f'{frame.timestamp_micros} of {frame.context.name}'):
        labelled_points(frame)


@pytest.mark.parametrize('cut', [1, 4, 5000])
def test_a_truncated_file_is_named_once_its_end_is_reached(path, tmp_path, cut):
    short = tmp_path / 'short.tfrecord'
    short.write_bytes(path.read_bytes()[:-cut])
    frames = labelled_frames(short)
    assert next(frames)
    with pytest.raises(InputError, match=r'short\.tfrecord, which ends within'):
        list(frames)


def test_a_header_cut_short_is_named(path, tmp_path):
    short = tmp_path / 'short.tfrecord'
    short.write_bytes(path.read_bytes() + b'\1\2\3')
    with pytest.raises(InputError, match=r'short\.tfrecord, which ends within'):
        list(record_spans(short))


def test_damage_within_a_record_is_named(path, tmp_path):
    frame = next(labelled_frames(path))
    damaged = tmp_path / 'damaged.tfrecord'
    packed_range = bytearray(frame.lasers[0].ri_return1.range_image_compressed)
    packed_range[len(packed_range) // 2] ^= 255
    frame.lasers[0].ri_return1.range_image_compressed = bytes(packed_range)
    write_records(damaged, [frame])
    with pytest.raises(InputError, match=r'damaged\.tfrecord \('), damage_named(damaged):
        labelled_points(next(labelled_frames(damaged)))
    with tf.io.TFRecordWriter(str(damaged)) as file:
        file.write(b'\xff' * 100)
    with pytest.raises(InputError, match=r'damaged\.tfrecord \('):
        next(labelled_frames(damaged))


def boxed_frame(index):
    frame = Frame(timestamp_micros=index)
    frame.context.name = 'context'
    label = frame.laser_labels.add(type=1, num_lidar_points_in_box=9)
    label.box.center_x = 12.5
    return frame


@pytest.fixture
def three(tmp_path):
    """A file of three records of one length, and that length with what stands around it."""
    path = tmp_path / 'three.tfrecord'
    write_records(path, [boxed_frame(index) for index in (1, 2, 3)])
    return path, path.stat().st_size // 3


def crc32c(content):
    """Slow twin: bit by bit, masked as TFRecord masks it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(content):
    length = struct.pack('<Q', len(content))
    return length + struct.pack('<I', crc32c(length)) + content + struct.pack('<I', crc32c(content))


def tensorflow_refuses(path):
    try:
        read_records(path)
    except tf.errors.DataLossError:
        return True
    return False


def test_checksums_are_those_of_a_loop_over_bits(tmp_path):
    path = tmp_path / 'slow.tfrecord'
    frames = [boxed_frame(index) for index in range(4)]
    path.write_bytes(b''.join(record(frame.SerializeToString()) for frame in frames))
    check_records(path)
    assert [read_frame(path, span) for span in record_spans(path)] == frames


def test_what_the_simulator_writes_passes(root):
    for path in sorted(root[0].rglob('*.tfrecord')):
        check_records(path)


def test_each_flipped_bit_of_a_record_is_named_with_its_number(three):
    """In the length, its checksum, the content and the content's checksum."""
    path, length = three
    whole = path.read_bytes()
    check_records(path)
    for position in range(length, 2 * length):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :])
        assert tensorflow_refuses(path)
        with pytest.raises(InputError, match=r'three\.tfrecord, whose record 1, counted from 0, is damaged'):
            check_records(path)


def test_a_bit_that_moves_a_box_is_not_served(three):
    path, _ = three
    content = bytearray(path.read_bytes())
    place = content.find(struct.pack('<d', 12.5))
    content[place + 6] ^= 0x10
    assert struct.unpack('<d', content[place : place + 8]) == (25.0,)
    path.write_bytes(content)
    spans = list(record_spans(path))
    assert read_frame(path, spans[1]).timestamp_micros == 2
    for served in (lambda: read_frame(path, spans[0]), lambda: list(labelled_frames(path))):
        with pytest.raises(InputError, match=r'record 0, counted from 0, is damaged: its content'):
            served()


@pytest.mark.parametrize(
    'kept, added',
    [(1, bytes(160)), (0, bytes(4096)), (2, b'\xff' * 40), (3, b'<html>' * 40)],
    ids=['zeros after one', 'zeros', 'ones after two', 'text after three'],
)
def test_zeros_and_other_rubbish_are_no_frames(three, kept, added):
    """An interrupted download into a preallocated file; a server's page of apologies."""
    path, length = three
    path.write_bytes(path.read_bytes()[: kept * length] + added)
    assert tensorflow_refuses(path)
    for read in (check_records, lambda path: list(record_spans(path))):
        with pytest.raises(InputError, match=rf'record {kept}, counted from 0, is damaged: its length'):
            read(path)


def test_an_empty_file_is_named(three):
    path, _ = three
    path.write_bytes(b'')
    with pytest.raises(InputError, match=r'three\.tfrecord without a record'):
        check_records(path)


def test_a_disk_that_fails_is_no_damaged_file(three, monkeypatch):
    path, _ = three

    def fail(name):
        raise tf.errors.UnknownError(None, None, 'Input/output error')

    monkeypatch.setattr('cleverdistiller.datasets.waymo_records.tf_record_random_reader', fail)
    with pytest.raises(OSError, match='Input/output error') as error:
        check_records(path)
    assert error.value.filename == str(path)
