from collections.abc import Sequence

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.models.frame_names import frame_names
from cleverdistiller.ops.voxelize import voxelize
from cleverdistiller.structures import ScanInputs


class ScanDataPreprocessor(BaseDataPreprocessor):
    """Collate scans, mix them (Mix3D) and voxelise; what every task's preprocessor does first.

    Mix3D joins scan 2k with scan 2k+1 into one cloud, in metres, and puts the union on one grid: points of
    both that share a cell share a voxel. A batch is mixed as a whole or not at all, as in Pointcept.

    Args:
        voxel_size_m (float): Edge of a voxel.
        mix3d_prob (float): Probability of mixing a training batch.
    """

    def __init__(self, voxel_size_m: float = 0.05, mix3d_prob: float = 0.0) -> None:
        super().__init__(non_blocking=True)  # from pinned memory (train_dataloader.pin_memory) the host does not wait
        self.voxel_size_m = voxel_size_m
        self.mix3d_prob = mix3d_prob

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare one batch.

        Args:
            data (dict): ``inputs``, a dict of lists with one entry a scan (what mmengine's ``pseudo_collate``
                makes), and ``data_samples``.
            training (bool): Mix and pick random representatives.

        Returns:
            dict: ``inputs`` (a ScanInputs) and ``data_samples``.

        Raises:
            InputError: If a scan to train on has no points; one to predict for gets no labels.
        """
        if training and (empty := [row for row, scan in enumerate(data['inputs']['points']) if not len(scan)]):
            names = frame_names(data['data_samples'])
            raise InputError(
                f'{len(empty)} scans without points to train on, such as {names[empty[0]]}',
                'at least one point',
                'leave the frame out, or widen what the pipeline keeps',
            )
        # mmengine calls this inside autocast; coordinates must not become half precision.
        with torch.autocast(self.device.type, enabled=False):
            return dict(inputs=self.collate(data, training), data_samples=data['data_samples'])

    def collate(self, data: dict, training: bool) -> ScanInputs:
        """One batch as the task's model eats it; a task adds what else it needs."""
        return self.join(data['inputs']['points'], training)

    def join(self, scans: list[Tensor], training: bool) -> ScanInputs:
        """Put the points of all scans of a batch together and on a grid.

        Args:
            scans (list[Tensor]): (N_scan, 3 + c) float32 each.
            training (bool): Mix and pick random representatives.

        Returns:
            ScanInputs: The batch.
        """
        scan_sizes = tuple(map(len, scans))
        count = len(scan_sizes)
        points = torch.cat(self.cast_data(scans))  # (N, 3 + c)
        scan_index = scan_of_points(scan_sizes, points.device)
        mix = training and np.random.rand() < self.mix3d_prob
        cloud_index = scan_index // 2 if mix else scan_index
        batch_size = (count + 1) // 2 if mix else count
        voxels = voxelize(points, cloud_index, batch_size, self.voxel_size_m, random_representative=training)
        return ScanInputs(points, cloud_index, scan_sizes, voxels)


def scan_of_points(scan_sizes: Sequence[int], device: torch.device) -> Tensor:
    """Which scan each point of a batch belongs to, filled in on the device: (N,) int64."""
    return torch.cat([torch.full((size,), scan, device=device) for scan, size in enumerate(scan_sizes)])
