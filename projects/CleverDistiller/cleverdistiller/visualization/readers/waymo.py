"""Frames of Waymo's records, through waymo_open_dataset. Only this reader imports TensorFlow."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from google.protobuf.message import DecodeError
from PIL import Image
from waymo_open_dataset import dataset_pb2, label_pb2
from waymo_open_dataset.protos import segmentation_pb2
from waymo_open_dataset.utils import frame_utils

from cleverdistiller.errors import InputError
from cleverdistiller.visualization.camera_view import CameraView
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.readers.files import out_of_range, record_files

ROWS = (('FRONT_LEFT', 'FRONT', 'FRONT_RIGHT'), ('SIDE_LEFT', 'SIDE_RIGHT'))
CLASS_NAMES = tuple(
    name.removeprefix('TYPE_').lower() for name, number in segmentation_pb2.Segmentation.Type.items() if number
)
Matrix = dataset_pb2.MatrixFloat | dataset_pb2.MatrixInt32
# A camera of Waymo's looks along x, its y left, its z up.
_WAYMO2CAM = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
_HEADER, _CHECKSUM_BYTES = struct.Struct('<QI'), 4  # a record: its length, a checksum, the bytes, a checksum


def read(root: Path, index: int) -> FrameView:
    """Read frame ``index``, record file after record file: the points of the roof's LiDAR, both returns.

    Points and boxes are in the car's frame at the frame's time. Pictures are undistorted; that their rows are not
    exposed at one time is left as it is.

    Raises:
        InputError: See :func:`read_frame`.
    """
    path, content = _record(root, index)
    try:
        frame = dataset_pb2.Frame.FromString(content)
    except DecodeError as error:
        raise InputError(f'{path} ({error})', "Waymo's Frame records", 'download the file again') from error
    points, labels = _points_and_labels(frame)
    cameras = {view.name: view for view in _cameras(frame)}
    boxes = [
        (box.center_x, box.center_y, box.center_z, box.length, box.width, box.height, box.heading)
        for box in (label.box for label in frame.laser_labels)
    ]
    names = [label_pb2.Label.Type.Name(label.type).removeprefix('TYPE_').lower() for label in frame.laser_labels]
    return FrameView(
        title=f'Waymo  {path.parent.name}  {frame.context.name}  frame {index}  {frame.timestamp_micros} us',
        camera_rows=tuple(
            row for row in (tuple(cameras[name] for name in row if name in cameras) for row in ROWS) if row
        ),
        points_lidar_m=points,
        labels=labels,
        class_names=CLASS_NAMES,
        boxes_lidar_m=np.array(boxes, float).reshape(-1, 7),
        box_names=tuple(names),
    )


def _record(root: Path, index: int) -> tuple[Path, bytes]:
    """The file and the bytes of a frame. Only lengths are read on the way: real sets have terabytes."""
    count = 0
    for path in record_files(root):
        with open(path, 'rb') as file:
            for length in _lengths(file, path):
                if count == index:
                    return path, file.read(length)
                file.seek(length + _CHECKSUM_BYTES, io.SEEK_CUR)
                count += 1
    raise out_of_range(index, count, root)


def _lengths(file: io.BufferedReader, path: Path) -> Iterator[int]:
    """Length of each record, the file standing at its first byte."""
    size = path.stat().st_size
    while header := file.read(_HEADER.size):
        length = _HEADER.unpack(header)[0] if len(header) == _HEADER.size else size
        if file.tell() + length + _CHECKSUM_BYTES > size:
            raise InputError(f'{path}, which ends within a record', 'whole records', 'download the file again')
        yield length


def _points_and_labels(frame: dataset_pb2.Frame) -> tuple[np.ndarray, np.ndarray | None]:
    """(N, 3) float32 points in the car's frame and (N,) rows of ``CLASS_NAMES``, or None in a frame without labels."""
    top = dataset_pb2.LaserName.TOP
    laser = next(laser for laser in frame.lasers if laser.name == top)
    # Waymo's converter decodes every LiDAR that the calibration names, so it gets the roof's alone. Its parser is not
    # used: it hands bytearrays to protobuf, which newer versions of it refuse.
    calibrations = [calibration for calibration in frame.context.laser_calibrations if calibration.name == top]
    alone = dataset_pb2.Frame(pose=frame.pose, context=dataset_pb2.Context(laser_calibrations=calibrations))
    pose = _matrix(dataset_pb2.MatrixFloat, laser.ri_return1.range_image_pose_compressed)
    points, classes = [], []
    for echo in (laser.ri_return1, laser.ri_return2):
        image = _matrix(dataset_pb2.MatrixFloat, echo.range_image_compressed)
        hit = _array(image)[..., 0] > 0  # (beams, columns)
        cartesian = frame_utils.convert_range_image_to_cartesian(alone, {top: [image]}, pose)[top].numpy()
        points.append(cartesian[hit].astype(np.float32))
        if echo.segmentation_label_compressed:
            labels = _array(_matrix(dataset_pb2.MatrixInt32, echo.segmentation_label_compressed))
            classes.append(labels[..., 1][hit].astype(int) - 1)  # 0, undefined, becomes -1
    return np.concatenate(points), np.concatenate(classes) if classes else None


def _matrix(kind: type, compressed: bytes) -> Matrix:
    return kind.FromString(zlib.decompress(compressed))


def _array(matrix: Matrix) -> np.ndarray:
    return np.array(matrix.data).reshape(matrix.shape.dims)


def _cameras(frame: dataset_pb2.Frame) -> Iterator[CameraView]:
    """The pictures as a pinhole camera without distortion would have taken them."""
    car2world = np.array(frame.pose.transform).reshape(4, 4)
    calibrations = {calibration.name: calibration for calibration in frame.context.camera_calibrations}
    for image in frame.images:
        calibration = calibrations[image.name]
        fu, fv, cu, cv, *distortion = calibration.intrinsic
        cam2img = np.array([[fu, 0, cu], [0, fv, cv], [0, 0, 1]])
        rgb = np.array(Image.open(io.BytesIO(image.image)).convert('RGB'))
        if any(distortion):
            rgb = cv2.undistort(rgb, cam2img, np.array(distortion))
        # The car has moved between the frame's time and the shutter's.
        cam2world = np.array(image.pose.transform).reshape(4, 4) @ np.array(calibration.extrinsic.transform).reshape(
            4, 4
        )
        name = dataset_pb2.CameraName.Name.Name(image.name)
        yield CameraView(name, rgb, cam2img, _WAYMO2CAM @ np.linalg.inv(cam2world) @ car2world)
