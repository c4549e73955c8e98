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

    def __init__(self, voxel_size_m: float = 0.05, mix3d_prob: float = 0.0,
                 pair_points: str = 'representative') -> None:
        super().__init__()
        if pair_points not in ('representative', 'all'):
            raise InputError(f'pair_points={pair_points!r}', 'representative or all',
                             'correct model.data_preprocessor in the config')
        self.voxel_size_m = voxel_size_m
        self.mix3d_prob = mix3d_prob
        self.pair_points = pair_points

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare one batch.

        Args:
            data (dict): ``inputs``, a list with one dict a scan (see :class:`PackDistillationInputs`), and
                ``data_samples``.
            training (bool): Mix and pick random representatives.

        Returns:
            dict: ``inputs`` (DistillationInputs) and ``data_samples``.
        """
        # mmengine calls this inside autocast; coordinates must not become half precision.
        with torch.autocast(self.device.type, enabled=False):
            return dict(inputs=self._collate(data['inputs'], training), data_samples=data['data_samples'])

    def _collate(self, scans: list[dict], training: bool) -> DistillationInputs:
        scan_sizes = tuple(len(scan['points']) for scan in scans)
        points = torch.cat([self.cast_data(scan['points']) for scan in scans])  # (N, 4)
        scan_index = torch.arange(len(scans)).repeat_interleave(torch.tensor(scan_sizes)).to(points.device)
        mix = training and np.random.rand() < self.mix3d_prob
        cloud_index = scan_index // 2 if mix else scan_index
        batch_size = (len(scans) + 1) // 2 if mix else len(scans)
        voxels = voxelize(points, cloud_index, batch_size, self.voxel_size_m, random_representative=training)
        found = {}
        if 'images' in scans[0]:
            found['images'] = torch.cat([self.cast_data(scan['images']) for scan in scans]).float() / 255
        if 'pairs' in scans[0]:
            pairs = PointPixelPairs.collate([self._move(scan['pairs']) for scan in scans], scan_sizes,
                                            [len(scan['images']) for scan in scans])
            found['pairs'] = self._select_pairs(pairs, voxels.representative, len(points))
        if 'queries' in scans[0]:
            found['queries'] = OccupancyQueries.collate([self._move(scan['queries']) for scan in scans],
                                                        scan_sizes)
        return DistillationInputs(points, cloud_index, scan_sizes, voxels, **found)

    def _move(self, tensors: PointPixelPairs | OccupancyQueries):
        return tensors.to(self.device, self._non_blocking)

    def _select_pairs(self, pairs: PointPixelPairs, representative: Tensor, num_points: int) -> PointPixelPairs:
        if self.pair_points == 'all':
            return pairs
        speaks = torch.zeros(num_points, dtype=torch.bool, device=representative.device)
        speaks[representative] = True
        return pairs.select(speaks[pairs.point_index])
