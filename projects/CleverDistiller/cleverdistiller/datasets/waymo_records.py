"""Frames and points of Waymo's records (perception, version 1.3 and later), through waymo_open_dataset.

It imports TensorFlow, which takes ten seconds: import this module only where records are read.
"""

import errno
import struct
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorflow.errors import DataLossError, OpError
from tensorflow.python.lib.io.tf_record import tf_record_random_reader
from waymo_open_dataset.dataset_pb2 import Context, Frame, LaserName, MatrixFloat, MatrixInt32
from waymo_open_dataset.utils import frame_utils

from cleverdistiller.errors import InputError

# A record: its length, a checksum, the bytes, a checksum. They are CRC-32C, masked as TFRecord does.
_HEADER, _LENGTH_BYTES, _CHECKSUM_BYTES = struct.Struct('<QI'), 8, 4
_RETURNS = ('ri_return1', 'ri_return2')
_RANGE, _INTENSITY, _ELONGATION, _NO_LABEL_ZONE = range(4)  # channels of a range image
_DOWNLOAD_AGAIN = 'download the file again'


@dataclass(frozen=True)
class RecordSpan:
    """Where a record of a file lies.

    Args:
        number (int): Of the record in its file, from 0.
        first_byte (int): Where the record begins, with its length.
        length (int): Bytes of its content.
    """

    number: int
    first_byte: int
    length: int


def record_spans(path: Path) -> Iterator[RecordSpan]:
    """Where a file's records lie. Only their lengths are read and checked: real sets have terabytes.

    Args:
        path (Path): A ``.tfrecord`` file.

    Yields:
        RecordSpan: One a record.

    Raises:
        InputError: If the file ends within a record, or a length fails its checksum.
    """
    size, number, first_byte = path.stat().st_size, 0, 0
    with open(path, 'rb') as file:
        while header := file.read(_HEADER.size):
            length, checksum = _HEADER.unpack(header) if len(header) == _HEADER.size else (size, None)
            # The length that a damaged header tells leads anywhere, so its checksum comes first.
            if checksum not in (None, masked_crc32c(header[:_LENGTH_BYTES])):
                raise _damaged(path, number, 'length')
            end = file.tell() + length + _CHECKSUM_BYTES
            if end > size:
                raise InputError(
                    f'{path}, which ends within a record, number {number} from 0', 'whole records', _DOWNLOAD_AGAIN
                )
            yield RecordSpan(number, first_byte, length)
            number, first_byte = number + 1, end
            file.seek(end)


def check_records(path: Path) -> None:
    """Read a whole file, before anything is made of it. TensorFlow does so at more than a gigabyte a second.

    Args:
        path (Path): A ``.tfrecord`` file.

    Raises:
        InputError: If a record is damaged, or there is none.
    """
    span = None
    for span in record_spans(path):
        _read_record(path, span)
    if span is None:
        raise InputError(f'{path} without a record', "Waymo's Frame records", _DOWNLOAD_AGAIN)


def read_frame(path: Path, span: RecordSpan) -> Frame:
    """The frame in one record.

    Args:
        path (Path): A ``.tfrecord`` file.
        span (RecordSpan): See :func:`record_spans`.

    Raises:
        InputError: If the record fails its checksum or is no frame of Waymo's.
    """
    content = _read_record(path, span)
    with damage_named(path):
        return Frame.FromString(content)


def _read_record(path: Path, span: RecordSpan) -> bytes:
    """The content of a record, whose checksums TensorFlow compares."""
    try:
        return tf_record_random_reader(str(path)).read(span.first_byte)[0]
    except DataLossError as error:
        raise _damaged(path, span.number, 'content') from error
    except OpError as error:  # what the system said, such as of a disk that fails
        raise OSError(errno.EIO, error.message, str(path)) from error


def _damaged(path: Path, number: int, what: str) -> InputError:
    return InputError(
        f'{path}, whose record {number}, counted from 0, is damaged: its {what} fails its checksum',
        'the bytes that were written',
        _DOWNLOAD_AGAIN,
    )


def labelled_frames(path: Path) -> Iterator[Frame]:
    """The frames of a file that have segmentation labels, one after the other: the file is never in memory as a whole.

    A frame without labels costs its reading alone; nothing in it is unpacked.

    Args:
        path (Path): A ``.tfrecord`` file.

    Yields:
        Frame: A labelled frame.

    Raises:
        InputError: If the file is damaged or truncated.
    """
    for span in record_spans(path):
        frame = read_frame(path, span)
        if is_labelled(frame):
            yield frame


def is_labelled(frame: Frame) -> bool:
    """Whether a frame has segmentation labels: in real records about two a second, in the middle of a segment."""
    return any(laser.ri_return1.segmentation_label_compressed for laser in frame.lasers)


def labelled_points(frame: Frame, lasers: Collection[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """All points of a frame, in the order in which others (Pointcept) extract them too.

    The returns come one after the other: the first of every LiDAR, the LiDARs sorted by number, then the second of
    every LiDAR; row by row within a range image. Waymo labels the TOP LiDAR alone, which is number 1.

    Args:
        frame (Frame): The frame.
        lasers (Collection[int] | None): Numbers (``LaserName``) of the LiDARs to read; None for all.

    Returns:
        tuple[np.ndarray, np.ndarray]: (N, 4) float32 x, y, z in metres in the car's frame at the frame's time, and
        tanh of the intensity, which is unbounded in the records; (N,) uint8 class by ``Segmentation.Type``, 0 for
        undefined and for points of LiDARs without labels.

    Raises:
        InputError: If the frame lacks the TOP LiDAR, whose poses all decoding needs.
    """
    points, labels = [np.empty((0, 4), np.float32)], [np.empty(0, np.uint8)]
    for each in _range_images(frame, _RETURNS, lasers):
        points.append(np.column_stack([each.xyz, np.tanh(each.measured[:, _INTENSITY])]).astype(np.float32))
        labels.append(_classes(each.labels_compressed, each.hit.shape)[each.hit])
    return np.concatenate(points), np.concatenate(labels)


def detection_points(frame: Frame, returns: int = 2) -> np.ndarray:
    """The points of all LiDARs that Waymo's boxes are drawn for: those in its no-label zones are left out.

    Args:
        frame (Frame): The frame.
        returns (int): 1 for the first returns alone, or 2.

    Returns:
        np.ndarray: (N, 5) float32 x, y, z in metres in the car's frame at the frame's time, intensity and elongation,
        both as the records have them; in the order of :func:`labelled_points`.

    Raises:
        InputError: If the frame lacks the TOP LiDAR, whose poses all decoding needs.
    """
    points = [np.empty((0, 5), np.float32)]
    for each in _range_images(frame, _RETURNS[:returns]):
        rows = np.column_stack([each.xyz, each.measured[:, [_INTENSITY, _ELONGATION]]]).astype(np.float32)
        points.append(rows[each.measured[:, _NO_LABEL_ZONE] != 1])
    return np.concatenate(points)


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Name the file when what it holds cannot be decoded.

    Raises:
        InputError: Instead of the errors of protobuf and zlib.
    """
    try:
        yield
    except (DecodeError, zlib.error) as error:
        raise InputError(f'{path} ({error})', "Waymo's Frame records", _DOWNLOAD_AGAIN) from error


@dataclass(frozen=True)
class _RangeImage:
    """Points of one return of one LiDAR: (N, 3) in the car's frame, (N, 4) as measured, and their (R, C) pixels."""

    xyz: np.ndarray
    measured: np.ndarray
    hit: np.ndarray
    labels_compressed: bytes


def _range_images(frame: Frame, returns: Sequence[str], lasers: Collection[int] | None = None) -> Iterator[_RangeImage]:
    found = {laser.name: laser for laser in sorted(frame.lasers, key=lambda laser: laser.name)}
    if LaserName.TOP not in found:
        raise InputError(
            f'frame {frame.timestamp_micros} of {frame.context.name}, without the TOP LiDAR',
            'perception records with LiDAR data',
            _DOWNLOAD_AGAIN,
        )
    pose = _matrix(MatrixFloat, found[LaserName.TOP].ri_return1.range_image_pose_compressed)
    for which in returns:
        images = {name: getattr(laser, which) for name, laser in found.items() if lasers is None or name in lasers}
        images = {name: image for name, image in images.items() if image.range_image_compressed}
        ranges = {name: _matrix(MatrixFloat, image.range_image_compressed) for name, image in images.items()}
        # Waymo's converter decodes every LiDAR that the calibration names, so it gets those of interest alone. Its
        # parser is not used: it hands bytearrays to protobuf, which newer versions of it refuse.
        calibrations = [each for each in frame.context.laser_calibrations if each.name in ranges]
        alone = Frame(pose=frame.pose, context=Context(laser_calibrations=calibrations))
        one_return = {name: [matrix] for name, matrix in ranges.items()}
        cartesian = frame_utils.convert_range_image_to_cartesian(alone, one_return, pose)
        for name, image in images.items():
            measured = _array(ranges[name])  # (beams, columns, 4)
            hit = measured[..., _RANGE] > 0
            yield _RangeImage(cartesian[name].numpy()[hit], measured[hit], hit, image.segmentation_label_compressed)


def _classes(compressed: bytes, shape: tuple[int, int]) -> np.ndarray:
    """(beams, columns) uint8 class of every pixel. The first channel of the image is the instance."""
    if not compressed:
        return np.zeros(shape, np.uint8)
    return _array(_matrix(MatrixInt32, compressed))[..., 1].astype(np.uint8)


def _matrix(kind: type[MatrixFloat] | type[MatrixInt32], compressed: bytes) -> MatrixFloat | MatrixInt32:
    return kind.FromString(zlib.decompress(compressed))


def _array(matrix: MatrixFloat | MatrixInt32) -> np.ndarray:
    return np.array(matrix.data).reshape(matrix.shape.dims)
