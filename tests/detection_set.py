"""A made-up KITTI set in mmdet3d's v2 layout: what a detector is shown, and detections that it might make."""

import pickle
from pathlib import Path

import numpy as np
from mmdet3d.datasets import KittiDataset
from mmdet3d.registry import DATASETS
from PIL import Image

from cleverdistiller.evaluation.detection_predictions import FrameDetections
from conftest import look_along

CLASSES = ('Pedestrian', 'Cyclist', 'Car')
P2 = np.array([[100.0, 0, 80, 5], [0, 100, 45, 0.2], [0, 0, 1, 0.003], [0, 0, 0, 1]])
# x, y, z of the middle of the bottom, length, width, height, heading; type as the info file numbers it.
OBJECTS = (
    ((12.0, 3, -1.6, 4, 1.6, 1.5, 0.4), 2),
    ((20.0, -4, -1.6, 4, 1.6, 1.5, 3.0), 2),
    ((9.0, -2, -1.6, 0.8, 0.6, 1.7, 1.0), 0),
    ((15.0, 8, -1.6, 5, 2, 2.2, 0.0), 3),  # a van
)


@DATASETS.register_module()
class FramesWithIds(KittiDataset):
    """mmdet3d's KITTI with the frame's own name, which mmengine would replace by a row."""

    name = 'made-up kitti'

    def load_data_list(self) -> list[dict]:
        return [dict(info, frame_id=f'{10 * row:06d}') for row, info in enumerate(super().load_data_list())]


def write_detection_set(root: Path, count: int = 2) -> dict:
    """Write frames ``000000``, ``000010``, ... with the same objects; returns the config of their dataset."""
    root.mkdir(parents=True, exist_ok=True)
    lidar2cam = look_along(0.0)
    records = []
    for row in range(count):
        rng = np.random.default_rng(row)
        sweep = rng.uniform((1, -20, -2, 0), (40, 20, 1, 1), (500, 4)).astype(np.float32)
        sweep.tofile(root / f'{row}.bin')
        Image.fromarray(rng.integers(0, 60, (90, 160, 3), np.uint8)).save(root / f'{row}.png')
        instances = []
        for (x, y, z, length, width, height, heading), label in OBJECTS:
            box_cam = [-y, -z, x, length, height, width, -heading - np.pi / 2]
            instances.append(dict(bbox=[0, 0, 9, 9], bbox_label=label, bbox_3d=box_cam, bbox_label_3d=label))
        camera = dict(img_path=f'{row}.png', cam2img=P2.tolist(), lidar2cam=lidar2cam.tolist())
        lidar = dict(lidar_path=f'{row}.bin', num_pts_feats=4)
        records.append(dict(sample_idx=row, images=dict(CAM2=camera), lidar_points=lidar, instances=instances))
    metainfo = dict(dataset='kitti', info_version='1.1', categories={})
    (root / 'infos.pkl').write_bytes(pickle.dumps(dict(metainfo=metainfo, data_list=records)))
    load = dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4)
    return dict(
        type='FramesWithIds',
        data_root=str(root),
        ann_file='infos.pkl',
        data_prefix=dict(pts='', img=''),
        metainfo=dict(classes=CLASSES),
        test_mode=True,
        pipeline=[load, dict(type='Pack3DDetInputs', keys=('points',))],
    )


def detections_of(frame_id: str, *boxes: tuple[tuple, str, float]) -> FrameDetections:
    """From (box as in ``OBJECTS``, class, score) of each."""
    return FrameDetections(
        frame_id,
        np.array([box for box, _, _ in boxes], np.float32).reshape(-1, 7),
        np.array([score for _, _, score in boxes], np.float32),
        np.array([name for _, name, _ in boxes], str),
    )
