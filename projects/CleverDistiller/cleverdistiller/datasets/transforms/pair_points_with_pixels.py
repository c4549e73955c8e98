import torch
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from cleverdistiller.ops.projection import pair_points_with_pixels
from cleverdistiller.structures import PointPixelPairs


@TRANSFORMS.register_module()
class PairPointsWithPixels(BaseTransform):
    """Find the pixel of every point in every camera. Comes before any 3D augmentation.

    A point seen by two cameras gives two rows. A frame that no camera sees gives none; the distiller
    counts it and goes on.

    Required Keys:

    - points (LiDARPoints), input_size_hw, cam2img, lidar2cam, native_size_hw, img_hflip

    Modified Keys:

    - points: only with ``frustum_only``

    Added Keys:

    - pairs (PointPixelPairs)

    Args:
        min_depth_m (float): Nearest depth kept, metres.
        frustum_only (bool): Drop the points that no camera sees (ScaLR; together with ``num_cams=1``).
        max_points (int | None): With ``frustum_only``: keep at most so many points, at random (ScaLR: 20000).
    """

    def __init__(self, min_depth_m: float = 1.0, frustum_only: bool = False, max_points: int | None = None) -> None:
        self.min_depth_m = min_depth_m
        self.frustum_only = frustum_only
        self.max_points = max_points

    def transform(self, results: dict) -> dict:
        rows, cols = results['input_size_hw']
        point_index, image_index, uv_px = pair_points_with_pixels(
            results['points'].tensor[:, :3],
            torch.from_numpy(results['lidar2cam']),
            torch.from_numpy(results['cam2img']),
            torch.from_numpy(results['native_size_hw']),
            (rows, cols),
            self.min_depth_m,
        )
        mirrored = torch.from_numpy(results['img_hflip'])[image_index]
        uv_px[mirrored, 0] = cols - 1 - uv_px[mirrored, 0]
        results['pairs'] = PointPixelPairs(point_index, image_index, uv_px)
        if self.frustum_only:
            self._keep_seen_points(results)
        return results

    def _keep_seen_points(self, results: dict) -> None:
        points, pairs = results['points'], results['pairs']
        seen = pairs.point_index.unique()
        if len(seen) == 0:  # nothing to look at: keep the scan, the distiller counts it
            return
        if self.max_points is not None and len(seen) > self.max_points:
            seen = seen[torch.randperm(len(seen))[: self.max_points]].sort().values
        new_row = torch.full((len(points),), -1)
        new_row[seen] = torch.arange(len(seen))
        kept = pairs.select(new_row[pairs.point_index] >= 0)
        results['points'] = points[seen]
        results['pairs'] = PointPixelPairs(new_row[kept.point_index], kept.image_index, kept.uv_px)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(min_depth_m={self.min_depth_m}, frustum_only={self.frustum_only}, '
            f'max_points={self.max_points})'
        )
