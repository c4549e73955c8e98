import numpy as np
from mmdet3d.registry import TRANSFORMS

from cleverdistiller.datasets.transforms.detection_point_sample import DetectionPointSample


@TRANSFORMS.register_module()
class SampledPointsFirst(DetectionPointSample):
    """Sample points as :class:`DetectionPointSample` does, but keep the others behind them.

    For a detector whose backbone voxelises the whole cloud while its heads see ``num_points`` of it
    (``TransferPointRCNN.num_points``). No ``PointShuffle`` after it: the order says which points were sampled.

    Modified Keys:

    - points (LiDARPoints): (max(N, num_points) or more, 3 + c), the sampled ones first; a cloud smaller than
      ``num_points`` has some of its points twice among them

    Args:
        num_points (int): How many to sample.
        sample_range (float | None): Metres from the sensor beyond which all points are taken first, if they are fewer
            than ``num_points``.
    """

    def transform(self, results: dict) -> dict:
        points = results['points']
        _, sampled = self._points_random_sampling(
            points, self.num_points, self.sample_range, self.replace, return_choices=True
        )
        others = np.setdiff1d(np.arange(len(points)), sampled)
        results['points'] = points[np.concatenate([sampled, others])]
        return results
