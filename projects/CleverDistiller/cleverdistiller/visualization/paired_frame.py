"""Frames of a pretraining config with their pictures and pairs, as training loads them but for chance."""

import copy
from pathlib import Path

import numpy as np
from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import BaseDataset

from cleverdistiller.errors import InputError
from cleverdistiller.provenance import is_simulated
from cleverdistiller.visualization.ahead_yaw import ahead_yaw
from cleverdistiller.visualization.camera_view import CameraView
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.readers.files import read_picture

# What training leaves to chance, set to: all cameras, none mirrored, the whole sweep.
WITHOUT_CHANCE = dict(
    LoadCameraImages=dict(num_cams=None, hflip_prob=0.0), PairPointsWithPixels=dict(frustum_only=False)
)


def pairing_steps(cfg: Config) -> list[dict]:
    """The steps of a config's training pipeline up to the pairing of points with pixels.

    Raises:
        InputError: If it has no such step.
    """
    steps = copy.deepcopy([*cfg.train_dataloader.dataset.pipeline])
    names = [step['type'] for step in steps]
    if 'PairPointsWithPixels' not in names:
        raise InputError(
            f'{cfg.filename} whose pipeline has no PairPointsWithPixels',
            'a pretraining config',
            'use one of configs/pretrain',
        )
    return steps[: names.index('PairPointsWithPixels') + 1]


def paired_dataset(cfg: Config, subset: str) -> BaseDataset:
    """The training or validation frames of a pretraining config, loaded with images and pairs.

    Args:
        cfg (Config): Of configs/pretrain or configs/demo.
        subset (str): ``train`` or ``val``.

    Returns:
        BaseDataset: Its items are dicts, not packed, the same at every call.

    Raises:
        InputError: If the config is none for pretraining, or the dataset cannot be built.
    """
    steps = [dict(step, **WITHOUT_CHANCE.get(step['type'], {})) for step in pairing_steps(cfg)]
    return DATASETS.build(dict(cfg[f'{subset}_dataloader'].dataset, pipeline=steps))


def load_paired_frame(dataset: BaseDataset, index: int) -> tuple[dict, FrameView]:
    """Load one frame.

    Args:
        dataset (BaseDataset): See :func:`paired_dataset`.
        index (int): From 0.

    Returns:
        tuple[dict, FrameView]: What the pipeline gives, and the frame for drawing, its pictures at their own size.

    Raises:
        InputError: If there is no such frame, or a file of it is missing or damaged.
    """
    if not 0 <= index < len(dataset):
        raise InputError(f'--index {index}', f'0 to {len(dataset) - 1}', 'choose a frame of the dataset')
    frame = dataset[index]
    name = dataset.metainfo.get('dataset', type(dataset).__name__)
    view = FrameView(
        title=f'{name}  frame {index}  {frame["token"]}',
        camera_rows=(tuple(_cameras(frame)),),
        points_lidar_m=frame['points'].tensor[:, :3].numpy(),
        labels=None,
        class_names=(),
        boxes_lidar_m=np.zeros((0, 7)),
        box_names=(),
        ahead_yaw=ahead_yaw(frame['lidar_points']),
        simulated=is_simulated(dataset.data_root),
    )
    return frame, view


def _cameras(frame: dict) -> list[CameraView]:
    return [
        CameraView(name, read_picture(Path(frame['images'][name]['img_path'])), cam2img, lidar2cam)
        for name, cam2img, lidar2cam in zip(frame['camera_names'], frame['cam2img'], frame['lidar2cam'])
    ]
