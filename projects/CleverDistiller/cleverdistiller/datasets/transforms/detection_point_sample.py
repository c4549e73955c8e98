import numpy as np
from mmdet3d.datasets.transforms import PointSample
from mmdet3d.registry import TRANSFORMS
from mmdet3d.structures import BasePoints

from cleverdistiller.errors import InputError


@TRANSFORMS.register_module()
class DetectionPointSample(PointSample):
    """mmdet3d's ``PointSample``, which finds near points in a cloud of many far ones, too.

    Far points are few, so all of them are taken and the near ones fill up. Where they are ``num_points`` or more, the
    stock transform takes far points alone: no object near the car is sampled, and a frame teaches nothing. Then points
    are drawn from the whole cloud, as OpenPCDet does.

    Modified Keys:

    - points (LiDARPoints): (num_points, 3 + c); of a smaller cloud some points come twice

    Args:
        num_points (int): How many to sample.
        sample_range (float | None): Metres from the sensor beyond which points are far. None: all are alike.
        replace (bool): A point may come twice.

    Raises:
        InputError: If ``num_points`` is a share, which the stock transform takes as well.
    """

    def __init__(self, num_points: int, sample_range: float | None = None, replace: bool = False) -> None:
        if not isinstance(num_points, int):
            raise InputError(f'num_points={num_points}', 'a number of points', "correct the pipeline's config")
        super().__init__(num_points, sample_range, replace)

    def _points_random_sampling(
        self,
        points: BasePoints,
        num_samples: int,
        sample_range: float | None = None,
        replace: bool = False,
        return_choices: bool = False,
    ) -> tuple[BasePoints, np.ndarray] | BasePoints:
        if sample_range is not None:
            far = np.linalg.norm(points.coord.numpy(), axis=1) >= sample_range
            sample_range = None if far.sum() >= num_samples else sample_range
        return super()._points_random_sampling(points, num_samples, sample_range, replace, return_choices)
