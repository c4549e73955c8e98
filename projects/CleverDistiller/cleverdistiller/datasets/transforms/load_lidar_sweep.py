import numpy as np
from mmdet3d.datasets.transforms import LoadPointsFromFile
from mmdet3d.registry import TRANSFORMS

from cleverdistiller.datasets.file_checks import points_doubts, points_fault
from cleverdistiller.datasets.transforms._doubts import Doubts
from cleverdistiller.errors import InputError


@TRANSFORMS.register_module()
class LoadLiDARSweep(LoadPointsFromFile):
    """mmdet3d's point loader that names a bad file, and brings the intensity to 0..1.

    What is unlikely (a point beyond 1 km, intensities beyond the scale or far below) is said once.

    Required Keys:

    - lidar_points (dict): with ``lidar_path``

    Added Keys:

    - points (LiDARPoints): (N, 4) x, y, z in metres and intensity in 0..1

    Args:
        load_dim (int): Floats per point in the file. nuScenes: 5 (x, y, z, intensity, ring).
        intensity_scale (float): Factor on the stored intensity. nuScenes stores 0..255.
        **kwargs: For mmdet3d's ``LoadPointsFromFile``, such as ``backend_args``.

    Raises:
        InputError: If the file is missing, truncated, without points, or has values that no sensor gives: NaN or
            infinite ones, a coordinate beyond 100 km, an intensity below -1 (as a wrong ``load_dim`` makes them).
    """

    def __init__(self, load_dim: int = 5, intensity_scale: float = 1 / 255, **kwargs) -> None:
        super().__init__(coord_type='LIDAR', load_dim=load_dim, use_dim=4, **kwargs)
        self.intensity_scale = intensity_scale
        self._doubts = Doubts()

    def _load_points(self, pts_filename: str) -> np.ndarray:
        expected = f'float32 rows of {self.load_dim}'
        again = 'download or copy the sweep again, and run the tools/prepare_*.py of its dataset to check all files'
        try:
            points = super()._load_points(pts_filename)
        except (OSError, ValueError) as error:
            raise InputError(f'{pts_filename}, which cannot be read ({error})', expected, again) from error
        if points.size == 0:
            raise InputError(f'{pts_filename} without points', expected, again)
        if points.size % self.load_dim:
            raise InputError(
                f'{pts_filename} with {points.size} floats', expected, again + '; if it is whole, set load_dim'
            )
        rows = points.reshape(-1, self.load_dim)
        if fault := points_fault(rows):
            raise InputError(
                f'{pts_filename} with {fault}',
                f'{expected}: x, y, z of a sensor in metres, then intensity, all finite',
                again + '; if it is as it came, set load_dim to its columns or correct its values',
            )
        # mmdet3d's norm_intensity takes the tanh afterwards, which has no scale.
        scale = None if self.norm_intensity else self.intensity_scale
        self._doubts.tell(pts_filename, points_doubts(rows, scale))
        return points

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        results['points'].tensor[:, 3] *= self.intensity_scale
        return results
