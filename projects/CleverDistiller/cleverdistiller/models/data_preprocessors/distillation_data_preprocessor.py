from itertools import accumulate

import torch
from mmdet3d.registry import MODELS
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.models.data_preprocessors.scan_data_preprocessor import ScanDataPreprocessor, scan_of_points
from cleverdistiller.ops.voxelize import voxelize
from cleverdistiller.structures import DistillationInputs, OccupancyQueries, PointPixelPairs, TeacherFeatures


@MODELS.register_module()
class DistillationDataPreprocessor(ScanDataPreprocessor):
    """Scans with images, brought to 0..1, superpixels, pairs and queries, which stay with their scan under Mix3D.

    So do teacher features that were loaded in the place of images. Next frames, where they were loaded, get a grid of
    their own and are never mixed.

    Args:
        voxel_size_m (float): Edge of a voxel.
        mix3d_prob (float): See :class:`ScanDataPreprocessor`.
        pair_points (str): ``representative``: only the point that gave a voxel its features is paired
            (Pointcept, ScaLR). ``all``: every point, through its voxel (SLidR).

    Raises:
        InputError: If ``pair_points`` is another word.
    """

    def __init__(
        self, voxel_size_m: float = 0.05, mix3d_prob: float = 0.0, pair_points: str = 'representative'
    ) -> None:
        super().__init__(voxel_size_m, mix3d_prob)
        if pair_points not in ('representative', 'all'):
            raise InputError(
                f'pair_points={pair_points!r}', 'representative or all', 'correct model.data_preprocessor in the config'
            )
        self.pair_points = pair_points

    def collate(self, data: dict, training: bool) -> DistillationInputs:
        """One batch, with what :class:`PackDistillationInputs` packed beside the points."""
        scans = data['inputs']
        joined = self.join(scans['points'], training)
        found = {}
        if 'images' in scans:
            found['images'] = torch.cat(self.cast_data(scans['images'])).float() / 255
            found['images_per_scan'] = tuple(map(len, scans['images']))
        if 'teacher_features' in scans:
            found['teacher_features'] = TeacherFeatures.collate(self._move(scans['teacher_features']))
            found['images_per_scan'] = tuple(map(len, scans['teacher_features']))
        if 'pairs' in scans:
            pairs = PointPixelPairs.collate(self._move(scans['pairs']), joined.scan_sizes, found['images_per_scan'])
            found['pairs'] = self._select_pairs(pairs, joined.voxels.representative, len(joined.points))
        if 'queries' in scans:
            found['queries'] = OccupancyQueries.collate(self._move(scans['queries']), joined.scan_sizes)
        if 'superpixels' in scans:
            found['superpixels'] = torch.cat(self.cast_data(scans['superpixels']))
        if 'next_points' in scans:
            found.update(self._next_frames(scans, joined.scan_sizes, training))
        return DistillationInputs(**vars(joined), **found)

    def _next_frames(self, scans: dict, scan_sizes: tuple[int, ...], training: bool) -> dict:
        """The next frames on a grid of their own, never mixed, and pairs that name rows of the whole batch."""
        sizes = tuple(map(len, scans['next_points']))
        first_rows = zip(accumulate(scan_sizes, initial=0), accumulate(sizes, initial=0))
        pairs = [
            torch.stack([scan[:, 0] + first, scan[:, 1] + next_first], 1)
            for scan, (first, next_first) in zip(self.cast_data(scans['temporal_pairs']), first_rows)
        ]
        found = dict(temporal_pairs=torch.cat(pairs))
        if any(sizes):  # all scans may end their scenes
            points = torch.cat(self.cast_data(scans['next_points']))
            cloud_index = scan_of_points(sizes, points.device)
            found['next_voxels'] = voxelize(
                points, cloud_index, len(sizes), self.voxel_size_m, random_representative=training
            )
        return found

    def _move(self, scans: list) -> list:
        return [scan.to(self.device, self._non_blocking) for scan in scans]

    def _select_pairs(self, pairs: PointPixelPairs, representative: Tensor, num_points: int) -> PointPixelPairs:
        if self.pair_points == 'all':
            return pairs
        speaks = torch.zeros(num_points, dtype=torch.bool, device=representative.device)
        speaks[representative] = True
        return pairs.select(speaks[pairs.point_index].nonzero()[:, 0])  # of a mask, each column would look anew
