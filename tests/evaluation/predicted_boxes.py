"""Made-up KITTI info files and detections for them, as mmengine's loops hand them to an evaluator."""

import pickle
from pathlib import Path

import numpy as np
import torch
from mmdet3d.structures import Box3DMode, Det3DDataSample, LiDARInstance3DBoxes, points_cam2img
from mmengine.structures import InstanceData

from cleverdistiller.simulation.sensors.rigs import KITTI_P2
from cleverdistiller.simulation.writers.kitti_files import LIDAR2RECT

CLASSES = ('Pedestrian', 'Cyclist', 'Car')
SIZES = np.array([[0.8, 0.6, 1.73], [1.76, 0.6, 1.73], [3.9, 1.6, 1.56]])
WIDTH, HEIGHT = 1242, 375
CATEGORIES = {'Pedestrian': 0, 'Cyclist': 1, 'Car': 2, 'Van': 3, 'DontCare': -1}
CAM2IMG = np.vstack([KITTI_P2, [0, 0, 0, 1]]).astype(np.float32)
LIDAR2CAM = LIDAR2RECT.astype(np.float32)


def random_boxes(count: int, labels: np.ndarray) -> np.ndarray:
    """(M, 7) in the LiDAR's frame, in view."""
    x = np.random.uniform(6, 40, count)
    bottom = np.stack([x, x * np.random.uniform(-0.6, 0.6, count), np.random.normal(-1.7, 0.1, count)], 1)
    return np.hstack([bottom, SIZES[labels], np.random.uniform(-np.pi, np.pi, (count, 1))]).astype(np.float32)


def record_of(sample_idx: int, boxes: np.ndarray = (), labels: np.ndarray = (), **columns) -> dict:
    """A frame of mmdet3d's v2 infos from boxes (M, 7) in the LiDAR's frame."""
    boxes_cam = LiDARInstance3DBoxes(np.reshape(boxes, (-1, 7))).convert_to(Box3DMode.CAM, LIDAR2CAM)
    corners = points_cam2img(boxes_cam.corners, torch.from_numpy(CAM2IMG)).numpy()
    instances = [
        dict(
            bbox=[*corner.min(0).clip(min=0).tolist(), *np.minimum(corner.max(0), (WIDTH, HEIGHT)).tolist()],
            bbox_3d=box.tolist(),
            bbox_label=int(label),
            alpha=float(box[6] - np.arctan2(box[0], box[2])),
            occluded=0,
            truncated=0.0,
            score=0.0,
        )
        for corner, box, label in zip(corners, boxes_cam.tensor.numpy(), labels)
    ]
    for name, values in columns.items():
        for instance, value in zip(instances, values):
            instance[name] = value
    camera = dict(lidar2cam=LIDAR2CAM.tolist(), cam2img=CAM2IMG.tolist(), height=HEIGHT, width=WIDTH)
    return dict(sample_idx=sample_idx, images=dict(CAM2=camera), instances=instances)


def write_info_file(path: Path, records: list[dict]) -> Path:
    """An info file as tools/prepare_kitti.py leaves it."""
    with open(path, 'wb') as file:
        pickle.dump(dict(metainfo=dict(categories=CATEGORIES), data_list=records), file)
    return path


def detected(frame_id: str | None, boxes: np.ndarray = (), labels: np.ndarray = (), scores: np.ndarray = ()):
    """A frame after the detector."""
    sample = Det3DDataSample(metainfo={} if frame_id is None else dict(frame_id=frame_id))
    sample.pred_instances_3d = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(torch.tensor(np.reshape(boxes, (-1, 7)))),
        scores_3d=torch.tensor(np.array(scores, np.float32)),
        labels_3d=torch.tensor(np.array(labels, np.int64)),
    )
    return sample
