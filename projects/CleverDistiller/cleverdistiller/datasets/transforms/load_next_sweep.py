import torch
from mmdet3d.registry import TRANSFORMS
from torch import Tensor

from cleverdistiller.datasets.transforms.load_lidar_sweep import LoadLiDARSweep
from cleverdistiller.errors import InputError
from cleverdistiller.ops.temporal_pairs import is_ground, mutual_nearest_pairs


@TRANSFORMS.register_module()
class LoadNextSweep(LoadLiDARSweep):
    """The sweep of the next keyframe, and which of its points lie where a point of this sweep does.

    Ground is left out of the pairs, for rings on flat ground overlap everywhere and move with the car. What moves
    pairs up only where it still overlaps itself. Comes after the last step that drops points and before
    augmentation: pairs name rows, and are found in raw coordinates.

    Required Keys:

    - points (LiDARPoints)
    - next_frame (dict | None): from a dataset with ``with_next_frame=True``; None at the end of a scene

    Added Keys:

    - next_points (LiDARPoints): (K, 4) in the next sweep's own frame, without a row where there is none
    - temporal_pairs (Tensor): (P, 2) int64, rows of ``points`` and of ``next_points``

    Args:
        max_distance_m (float): Pairs are mutual nearest neighbours closer than this, once both sweeps are in one frame.
        ground_cell_m (float): Edge of a column, whose lowest part is ground (:func:`is_ground`). On the real keyframe
            columns of 0.5, 1 and 2 m keep 55, 69 and 78 % of the points in annotated boxes; the wider, the less
            slope they bear.
        ground_height_m (float): How high the lowest part is.
        **kwargs: For :class:`LoadLiDARSweep`; the same as for the sweep itself.

    Raises:
        InputError: If the sweep cannot be read or the dataset tells no next frame.
    """

    def __init__(
        self, max_distance_m: float = 0.1, ground_cell_m: float = 1.0, ground_height_m: float = 0.3, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.max_distance_m = max_distance_m
        self.ground_cell_m = ground_cell_m
        self.ground_height_m = ground_height_m

    def transform(self, results: dict) -> dict:
        if 'next_frame' not in results:
            raise InputError(
                'a frame that does not tell the one after it',
                'next_frame, which is None at the end of a scene',
                'set with_next_frame=True for the dataset (configs/_base_/datasets/nuscenes_distill_temporal.py)',
            )
        if results['next_frame'] is None:
            results['next_points'] = results['points'][:0]
            results['temporal_pairs'] = torch.zeros(0, 2, dtype=torch.int64)
            return results
        next_points = super().transform(dict(lidar_points=results['next_frame']['lidar_points']))['points']
        next2lidar = torch.from_numpy(results['next_frame']['next2lidar'])
        results['next_points'] = next_points
        results['temporal_pairs'] = self._pair(results['points'].tensor[:, :3], next_points.tensor[:, :3], next2lidar)
        return results

    def _pair(self, points_lidar: Tensor, next_points: Tensor, next2lidar: Tensor) -> Tensor:
        rows, next_rows = (
            torch.nonzero(~is_ground(points, self.ground_cell_m, self.ground_height_m))[:, 0]
            for points in (points_lidar, next_points)
        )
        moved = next_points[next_rows].double() @ next2lidar[:3, :3].T + next2lidar[:3, 3]
        pairs = mutual_nearest_pairs(points_lidar[rows], moved, self.max_distance_m)
        return torch.stack([rows[pairs[:, 0]], next_rows[pairs[:, 1]]], 1)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(max_distance_m={self.max_distance_m}, ground_cell_m={self.ground_cell_m}, '
            f'ground_height_m={self.ground_height_m}, load_dim={self.load_dim}, '
            f'intensity_scale={self.intensity_scale})'
        )
