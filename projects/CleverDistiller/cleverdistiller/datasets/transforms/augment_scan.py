from dataclasses import replace

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS
from torch import Tensor


@TRANSFORMS.register_module()
class AugmentScan(BaseTransform):
    """Rotate, scale and flip the points and the queries alike about the sensor; jitter the points only.

    Point-pixel pairs stay valid: they name points, not positions. Nothing is shifted, because the
    occupancy task needs the sensor at the origin. A next sweep moves alike about its own sensor.

    Required Keys:

    - points (LiDARPoints)
    - next_points (LiDARPoints, optional)
    - queries (OccupancyQueries, optional)

    Modified Keys:

    - points, next_points, queries

    Added Keys:

    - lidar_aug_matrix (np.ndarray): (4, 4) float64, raw to augmented LiDAR frame

    Args:
        rotate_prob (float): Probability of a turn about z.
        rotate_range_rad (tuple[float, float]): Its range.
        scale_range (tuple[float, float]): Isotropic scale, always drawn.
        flip_prob (float): Probability of x -> -x, and independently of y -> -y.
        jitter_sigma_m (float): Standard deviation of each point's own shift, metres.
        jitter_clip_m (float): Largest shift along an axis, metres.
    """

    def __init__(
        self,
        rotate_prob: float = 0.5,
        rotate_range_rad: tuple[float, float] = (-np.pi, np.pi),
        scale_range: tuple[float, float] = (0.9, 1.1),
        flip_prob: float = 0.5,
        jitter_sigma_m: float = 0.005,
        jitter_clip_m: float = 0.02,
    ) -> None:
        self.rotate_prob = rotate_prob
        self.rotate_range_rad = tuple(rotate_range_rad)
        self.scale_range = tuple(scale_range)
        self.flip_prob = flip_prob
        self.jitter_sigma_m = jitter_sigma_m
        self.jitter_clip_m = jitter_clip_m

    def transform(self, results: dict) -> dict:
        matrix = self._draw_matrix()
        linear = torch.from_numpy(matrix).float()
        for key in ('points', 'next_points'):
            if key in results:
                results[key].tensor[:, :3] = self._jitter(results[key].tensor[:, :3] @ linear.T)
        if 'queries' in results:
            queries = results['queries']
            results['queries'] = replace(queries, position_lidar_m=queries.position_lidar_m @ linear.T)
        results['lidar_aug_matrix'] = np.eye(4)
        results['lidar_aug_matrix'][:3, :3] = matrix
        return results

    def _draw_matrix(self) -> np.ndarray:
        """(3, 3) flip @ scale @ rotation."""
        angle = np.random.uniform(*self.rotate_range_rad) if np.random.rand() < self.rotate_prob else 0.0
        rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        scale = np.random.uniform(*self.scale_range)
        flip = np.where(np.random.rand(2) < self.flip_prob, -1.0, 1.0)
        return np.diag([*flip, 1.0]) @ rotation * scale

    def _jitter(self, xyz: Tensor) -> Tensor:
        shift_m = torch.randn_like(xyz) * self.jitter_sigma_m
        return xyz + shift_m.clamp(-self.jitter_clip_m, self.jitter_clip_m)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(rotate_prob={self.rotate_prob}, '
            f'rotate_range_rad={self.rotate_range_rad}, scale_range={self.scale_range}, '
            f'flip_prob={self.flip_prob}, jitter_sigma_m={self.jitter_sigma_m}, '
            f'jitter_clip_m={self.jitter_clip_m})'
        )
