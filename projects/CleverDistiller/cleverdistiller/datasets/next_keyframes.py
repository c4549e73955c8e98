"""Which keyframe follows which, from the poses and times of an mmdet3d v2 info file."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from cleverdistiller.errors import InputError
from cleverdistiller.ops.projection import lidar2cam_through_ego


def link_next_keyframes(frames: Sequence[dict], ann_file: str, maker: str) -> list[dict]:
    """Give each frame the keyframe that follows it in its scene.

    Args:
        frames (Sequence[dict]): mmdet3d v2 records with ``scene_name``, ``timestamp``, ``ego2global`` (4x4, at the
            sweep's time) and ``lidar_points.lidar2ego`` (4x4).
        ann_file (str): Where they are from, for the error.
        maker (str): The tool that makes it, for the remedy.

    Returns:
        list[dict]: The records in their order, each with ``next_frame``: None for the last of a scene, else a dict
        of the next one's ``lidar_points`` and of ``next2lidar`` (4, 4) float64, from its LiDAR frame to this one's.

    Raises:
        InputError: If a record lacks one of those keys or has a pose that is no finite 4x4 matrix.
    """
    following: dict[int, dict] = {}
    scenes = defaultdict(list)
    for row, frame in enumerate(frames):
        try:
            scenes[frame['scene_name']].append((frame['timestamp'], row, _lidar2ego_and_ego2global(frame)))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f'{ann_file}, frame {frame.get("token", row)}, whose place and time are not known ({error!r})',
                'scene_name, timestamp, ego2global and lidar_points.lidar2ego of each frame',
                f'rebuild the index with {maker}, or leave out with_next_frame',
            ) from error
    for keyframes in scenes.values():
        for (_, row, pose), (_, next_row, next_pose) in pairwise(sorted(keyframes, key=lambda keyframe: keyframe[:2])):
            next2lidar = lidar2cam_through_ego(*next_pose, *reversed(pose)).numpy()
            following[row] = dict(lidar_points=frames[next_row]['lidar_points'], next2lidar=next2lidar)
    return [dict(frame, next_frame=following.get(row)) for row, frame in enumerate(frames)]


def _lidar2ego_and_ego2global(frame: dict) -> tuple[torch.Tensor, torch.Tensor]:
    poses = np.stack([frame['lidar_points']['lidar2ego'], frame['ego2global']]).astype(np.float64)
    if poses.shape != (2, 4, 4) or not np.isfinite(poses).all():
        raise ValueError(f'poses of shape {poses.shape[1:]}, or not finite')
    return tuple(torch.from_numpy(poses))
