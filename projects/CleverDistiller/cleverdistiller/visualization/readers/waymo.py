"""Frames of Waymo's records, through waymo_open_dataset. Only this reader needs TensorFlow."""

import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from waymo_open_dataset import dataset_pb2, label_pb2
from waymo_open_dataset.protos import segmentation_pb2

from cleverdistiller.datasets.waymo_records import (
    RecordSpan,
    damage_named,
    is_labelled,
    labelled_points,
    read_frame,
    record_spans,
)
from cleverdistiller.visualization.camera_view import CameraView
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.readers.files import out_of_range, record_files

ROWS = (('FRONT_LEFT', 'FRONT', 'FRONT_RIGHT'), ('SIDE_LEFT', 'SIDE_RIGHT'))
CLASS_NAMES = tuple(
    name.removeprefix('TYPE_').lower() for name, number in segmentation_pb2.Segmentation.Type.items() if number
)
# A camera of Waymo's looks along x, its y left, its z up.
_WAYMO2CAM = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])


def read(root: Path, index: int) -> FrameView:
    """Read frame ``index``, record file after record file: the points of the roof's LiDAR, both returns.

    Points and boxes are in the car's frame at the frame's time. Pictures are undistorted; that their rows are not
    exposed at one time is left as it is.

    Raises:
        InputError: If there is no such frame, or its record is damaged.
    """
    path, span = _span(root, index)
    frame = read_frame(path, span)
    with damage_named(path):
        points, classes = labelled_points(frame, [dataset_pb2.LaserName.TOP])
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
        points_lidar_m=points[:, :3],
        labels=classes.astype(int) - 1 if is_labelled(frame) else None,  # 0, undefined, becomes -1
        class_names=CLASS_NAMES,
        boxes_lidar_m=np.array(boxes, float).reshape(-1, 7),
        box_names=tuple(names),
    )


def _span(root: Path, index: int) -> tuple[Path, RecordSpan]:
    """The file of a frame, and where in it the frame lies."""
    count = 0
    for path in record_files(root):
        for span in record_spans(path):
            if count == index:
                return path, span
            count += 1
    raise out_of_range(index, count, root)


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
