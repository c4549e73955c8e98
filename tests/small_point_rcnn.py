"""A PointRCNN that steps on a CPU in a second, and streets of boxes for it."""

from pathlib import Path

import mmdet3d
import numpy as np
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData

from conftest import REPO

MINKUNET = REPO / 'configs/_base_/models/point_rcnn_minkunet34.py'
POINTNET2 = REPO / 'configs/_base_/models/point_rcnn_pointnet2.py'
STOCK_CONFIGS = Path(mmdet3d.__file__).parent / '.mim/configs'
SIZES_M = np.array([[0.8, 0.6, 1.75], [1.8, 0.6, 1.7], [4.2, 1.7, 1.5]])  # pedestrian, cyclist, car
STUDENT = dict(type='MinkUNetStudent', depth=14, width=16, variant='mmdet3d')


def small_point_rcnn(path: Path = MINKUNET, changes: dict | None = None):
    """The configured detector, built of :func:`reduced_point_rcnn`."""
    return MODELS.build(reduced_point_rcnn(path, changes))


def reduced_point_rcnn(path: Path, changes: dict | None = None) -> Config:
    """The configured detector's config, reduced: fewer proposals, fewer points in each."""
    config = Config.fromfile(path)
    small = {
        'roi_head.bbox_roi_extractor.roi_layer.num_sampled_points': 32,
        'roi_head.bbox_head.num_points': (16, 4, -1),
        'train_cfg.rcnn.sampler.num': 16,
        'test_cfg.rpn.nms_cfg.nms_pre': 128,
        'test_cfg.rpn.nms_cfg.nms_post': 32,
    }
    if config.model.backbone.type == 'StudentPointBackbone':
        small |= {'backbone.voxel_size_m': 0.2, 'backbone.student': dict(STUDENT), 'backbone.student_weights': None}
    else:
        small |= {'backbone.num_points': (256, 64, 16, 4)}
    if 'rpn_proposal' in config.model.train_cfg:
        small |= {'train_cfg.rpn_proposal.nms_cfg.nms_pre': 128, 'train_cfg.rpn_proposal.nms_cfg.nms_post': 32}
    config.merge_from_dict({f'model.{key}': value for key, value in (small | (changes or {})).items()})
    return config.model


def street(seed: int, objects: int = 6, points: int = 1024) -> dict:
    """One frame as Pack3DDetInputs packs it: flat ground, and boxes of each class in turn with points on them."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation([(x, y) for x in (8, 16, 24) for y in (-9, -3, 3, 9)])[:objects]
    labels = np.arange(objects) % 3
    boxes = np.concatenate(
        [
            cells + rng.uniform(-0.5, 0.5, (objects, 2)),
            np.full((objects, 1), -1.7),
            SIZES_M[labels] * rng.uniform(0.95, 1.05, (objects, 3)),
            rng.uniform(-np.pi, np.pi, (objects, 1)),
        ],
        1,
    )  # on their bottoms
    on_objects = [on_surface(box, rng, 60) for box in boxes]
    count = points - 60 * objects
    ground = np.stack([rng.uniform(4, 30, count), rng.uniform(-13, 13, count), np.full(count, -1.75)], 1)
    xyz = np.concatenate([*on_objects, ground])
    cloud = torch.from_numpy(np.concatenate([xyz, rng.uniform(0, 1, (len(xyz), 1))], 1)).float()
    sample = Det3DDataSample(
        metainfo=dict(frame_id=f'street{seed}', box_type_3d=LiDARInstance3DBoxes),
        gt_instances_3d=InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(torch.from_numpy(boxes).float()), labels_3d=torch.from_numpy(labels)
        ),
    )
    return dict(inputs=dict(points=cloud[torch.from_numpy(rng.permutation(points))]), data_samples=sample)


def on_surface(box: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """Points just inside the sides of a box."""
    local = rng.uniform(-0.5, 0.5, (count, 3))
    side = rng.integers(0, 2, count)
    local[np.arange(count), side] = 0.49 * np.sign(local[np.arange(count), side])
    local = local * box[3:6] + [0, 0, box[5] / 2]
    cos, sin = np.cos(box[6]), np.sin(box[6])
    return local @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) + box[:3]


def batch(*frames: dict) -> dict:
    """As a DataLoader hands it to the model."""
    return pseudo_collate(list(frames))


def prepared(model, *frames: dict, training: bool = True) -> dict:
    """What the detector's ``loss`` and ``predict`` take."""
    data = model.data_preprocessor(batch(*frames), training)
    return dict(batch_inputs_dict=data['inputs'], batch_data_samples=data['data_samples'])


def losses(model, *frames: dict) -> dict[str, torch.Tensor]:
    return model.loss(**prepared(model, *frames))


def without_objects(frame: dict) -> dict:
    """The same frame as one that holds nothing."""
    frame['data_samples'].gt_instances_3d = frame['data_samples'].gt_instances_3d[:0]
    return frame
