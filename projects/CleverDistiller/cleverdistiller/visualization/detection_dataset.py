"""Frames of a detection dataset, with the objects that its metric looks for."""

from pathlib import Path

import numpy as np
from mmdet3d.datasets import Det3DDataset

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_predictions import FrameDetections
from cleverdistiller.provenance import is_simulated
from cleverdistiller.visualization.ahead_yaw import ahead_yaw
from cleverdistiller.visualization.camera_view import CameraView
from cleverdistiller.visualization.detection_frame import DetectedFrame
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.readers.kitti_camera import view_through


def detected_frames(
    dataset: Det3DDataset, found: dict[str, FrameDetections], frame_ids: list[str], min_score: float = 0.3
) -> list[DetectedFrame]:
    """Put frames of a dataset and their detections together.

    Args:
        dataset (Det3DDataset): In test mode with annotations; each record has a ``frame_id``.
        found (dict[str, FrameDetections]): By frame id.
        frame_ids (list[str]): Frames to take; none for the first one that has detections.
        min_score (float): See :class:`DetectedFrame`.

    Returns:
        list[DetectedFrame]: In the order of ``frame_ids``.

    Raises:
        InputError: If the dataset or the detections lack a frame, or the dataset's frames have no ids.
    """
    try:
        rows = {dataset.get_data_info(row)['frame_id']: row for row in range(len(dataset))}
    except KeyError as error:
        raise InputError(
            f'a {type(dataset).__name__}, whose frames have no {error}', 'a dataset for detection', 'give its config'
        ) from error
    for frame_id in frame_ids or [*found][:1]:
        for there, where in ((found, 'the predictions'), (rows, 'the test set of the config')):
            if frame_id not in there:
                raise InputError(
                    f'frame {frame_id}, which is not in {where}',
                    f'one of {len(there)} frames ({", ".join([*there][:3])}, ...)',
                    'give the config that the predictions were made with, and its frames with --frames',
                )
    return [
        DetectedFrame(view_of(dataset, rows[frame_id]), found[frame_id], min_score)
        for frame_id in frame_ids or [*found][:1]
    ]


def view_of(dataset: Det3DDataset, row: int) -> FrameView:
    """One frame with its objects, the points as the detector's own loader gives them, and its picture if it has one.

    Args:
        dataset (Det3DDataset): See :func:`detected_frames`.
        row (int): Of the dataset.

    Returns:
        FrameView: In the frame of the points.

    Raises:
        InputError: If the dataset loads no annotations or no points, or the picture is missing.
    """
    info = dataset.get_data_info(row)
    truth = info.get('eval_ann_info')
    if truth is None:
        raise InputError(
            f'frame {info["frame_id"]} without ground truth', 'a dataset with annotations', 'draw the validation set'
        )
    names = np.array(dataset.metainfo['classes'])
    boxes, wanted = truth['gt_bboxes_3d'], truth['gt_labels_3d'] >= 0
    middles = np.hstack([boxes.gravity_center.numpy(), boxes.tensor[:, 3:7].numpy()])
    return FrameView(
        title=f'{getattr(dataset, "name", type(dataset).__name__)}  frame {info["frame_id"]}',
        camera_rows=_pictures(dataset, info),
        points_lidar_m=_load_points(dataset, info),
        labels=None,
        class_names=(),
        boxes_lidar_m=middles[wanted],
        box_names=tuple(names[truth['gt_labels_3d'][wanted]].tolist()),
        ahead_yaw=ahead_yaw(info['lidar_points']),
        simulated=is_simulated(dataset.data_root),
    )


def _load_points(dataset: Det3DDataset, info: dict) -> np.ndarray:
    for step in dataset.pipeline.transforms:
        info = step(info)
        if 'points' in info:
            return info['points'].tensor[:, :3].numpy()
    raise InputError(f'a {type(dataset).__name__} without points', 'a pipeline that loads points', 'check the config')


def _pictures(dataset: Det3DDataset, info: dict) -> tuple[tuple[CameraView, ...], ...]:
    """The picture of the dataset's own camera, where the config says in which folder it lies."""
    camera = info.get('images', {}).get(dataset.default_cam_key, {})
    if 'img_path' not in camera or 'img' not in dataset.data_prefix:
        return ()
    # The base joins paths only for models that take pictures.
    folder = '' if dataset.modality['use_camera'] else dataset.data_prefix['img']
    path = Path(folder) / camera['img_path']
    return ((view_through(np.array(camera['cam2img'], float)[:3], np.array(camera['lidar2cam'], float), path),),)
