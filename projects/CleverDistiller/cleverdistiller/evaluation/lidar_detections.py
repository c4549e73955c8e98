from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from mmdet3d.structures import LiDARInstance3DBoxes

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_predictions import FrameDetections

Frame = TypeVar('Frame')


def lidar_detections(sample: dict, classes: tuple[str, ...]) -> FrameDetections:
    """What a detector found in a frame, small enough to be kept for a whole set.

    Args:
        sample (dict): A data sample as mmengine hands it to an evaluator, with ``frame_id`` and ``pred_instances_3d``.
        classes (tuple[str, ...]): What its labels stand for.

    Returns:
        FrameDetections: On the CPU.

    Raises:
        InputError: If the frame has no id, the boxes are not in the LiDAR's frame, a number is NaN or infinite, or a
            label is none of the classes.
    """
    frame_id = sample.get('frame_id')
    if not isinstance(frame_id, str):
        raise InputError(
            f'{sample.get("lidar_path")} with the frame id {frame_id!r}',
            "the dataset's name of the frame",
            "put 'frame_id' among the meta_keys of Pack3DDetInputs",
        )
    found = sample['pred_instances_3d']
    boxes, scores, labels = (found[key] for key in ('bboxes_3d', 'scores_3d', 'labels_3d'))
    if not isinstance(boxes, LiDARInstance3DBoxes):
        raise InputError(
            f'predictions of type {type(boxes).__name__} for the frame {frame_id}',
            'LiDARInstance3DBoxes',
            'this evaluator is for LiDAR detectors',
        )
    if not torch.isin(labels, torch.arange(len(classes), device=labels.device)).all():
        raise InputError(
            f'labels up to {labels.max()}, predicted for the frame {frame_id}',
            f'0 to {len(classes) - 1}, for {classes}',
            'let the head and the dataset of the config have the same classes, in the same order',
        )
    return FrameDetections(
        frame_id=frame_id,
        boxes_lidar=boxes.tensor[:, :7].float().cpu().numpy(),
        scores=scores.float().cpu().numpy(),
        names=np.array(classes, str)[labels.cpu().numpy()],
    )


def frame_of(frames: Mapping[str, Frame], frame_id: str, ann_file: str) -> Frame:
    """What an info file knows of a predicted frame.

    Args:
        frames (Mapping[str, Frame]): The info file's, by name.
        frame_id (str): Of the prediction.
        ann_file (str): The info file, for the message.

    Raises:
        InputError: If there is no such frame.
    """
    if frame_id not in frames:
        some = ', '.join(list(frames)[:3])
        raise InputError(
            f'a prediction for the frame {frame_id!r}, which is not in {ann_file}',
            f'one of its {len(frames)} frames ({some}, ...)',
            'give the evaluator the ann_file of the dataset that it scores',
        )
    return frames[frame_id]
