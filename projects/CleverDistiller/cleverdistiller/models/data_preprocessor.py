import numpy as np
import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.ops.voxelize import voxelize
from cleverdistiller.structures import DistillationInputs, OccupancyQueries, PointPixelPairs


@MODELS.register_module()
class DistillationDataPreprocessor(BaseDataPreprocessor):
    """Collate scans, bring images to 0..1, mix scans (Mix3D) and voxelise.

    Mix3D joins scan 2k with scan 2k+1 into one cloud, in metres, and puts the union on one grid: points of
    both that share a cell share a voxel. Images, pairs, queries and their support stay with their own scan.
    A batch is mixed as a whole or not at all, as in Pointcept.

    Args:
        voxel_size_m (float): Edge of a voxel.
        mix3d_prob (float): Probability of mixing a training batch.
        pair_points (str): ``representative``: only the point that gave a voxel its features is paired
            (Pointcept, ScaLR). ``all``: every point, through its voxel (SLidR).

    Raises:
        InputError: If ``pair_points`` is another word.
    """

    def __init__(
        self, voxel_size_m: float = 0.05, mix3d_prob: float = 0.0, pair_points: str = 'representative'
    ) -> None:
        super().__init__()
        if pair_points not in ('representative', 'all'):
            raise InputError(
                f'pair_points={pair_points!r}', 'representative or all', 'correct model.data_preprocessor in the config'
            )
        self.voxel_size_m = voxel_size_m
        self.mix3d_prob = mix3d_prob
        self.pair_points = pair_points

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare one batch.

        Args:
            data (dict): ``inputs``, a dict of lists with one entry a scan (what mmengine's ``pseudo_collate``
                makes of :class:`PackDistillationInputs`), and ``data_samples``.
            training (bool): Mix and pick random representatives.

        Returns:
            dict: ``inputs`` (DistillationInputs) and ``data_samples``.
        """
        # mmengine calls this inside autocast; coordinates must not become half precision.
        with torch.autocast(self.device.type, enabled=False):
            return dict(inputs=self._collate(data['inputs'], training), data_samples=data['data_samples'])

    def _collate(self, scans: dict[str, list], training: bool) -> DistillationInputs:
        scan_sizes = tuple(map(len, scans['points']))
        count = len(scan_sizes)
        points = torch.cat(self.cast_data(scans['points']))  # (N, 4)
        scan_index = torch.arange(count).repeat_interleave(torch.tensor(scan_sizes)).to(points.device)
        mix = training and np.random.rand() < self.mix3d_prob
        cloud_index = scan_index // 2 if mix else scan_index
        batch_size = (count + 1) // 2 if mix else count
        voxels = voxelize(points, cloud_index, batch_size, self.voxel_size_m, random_representative=training)
        found = {}
        if 'images' in scans:
            found['images'] = torch.cat(self.cast_data(scans['images'])).float() / 255
        if 'pairs' in scans:
            pairs = PointPixelPairs.collate(
                self._move(scans['pairs']), scan_sizes, [len(images) for images in scans['images']]
            )
            found['pairs'] = self._select_pairs(pairs, voxels.representative, len(points))
        if 'queries' in scans:
            found['queries'] = OccupancyQueries.collate(self._move(scans['queries']), scan_sizes)
        return DistillationInputs(points, cloud_index, scan_sizes, voxels, **found)

    def _move(self, scans: list) -> list:
        return [scan.to(self.device, self._non_blocking) for scan in scans]

    def _select_pairs(self, pairs: PointPixelPairs, representative: Tensor, num_points: int) -> PointPixelPairs:
        if self.pair_points == 'all':
            return pairs
        speaks = torch.zeros(num_points, dtype=torch.bool, device=representative.device)
        speaks[representative] = True
        return pairs.select(speaks[pairs.point_index])
