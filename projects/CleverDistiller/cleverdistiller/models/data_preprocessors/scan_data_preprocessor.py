from collections.abc import Sequence

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.models.frame_names import frame_names
from cleverdistiller.ops.voxelize import MOST_CELLS, MOST_STEPS, voxelize
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
            InputError: If a scan to train on has no points (one to predict for gets no labels), or one has a point so
                far away, or NaN, that the cells of the batch cannot be numbered.
        """
        scans, samples = data['inputs']['points'], data['data_samples']
        if training and (empty := [row for row, scan in enumerate(scans) if not len(scan)]):
            raise InputError(
                f'{len(empty)} scans without points to train on, such as {frame_names(samples)[empty[0]]}',
                'at least one point',
                'leave the frame out, or widen what the pipeline keeps',
            )
        self._refuse_far([scan for scan in scans if len(scan)], [s for s, scan in zip(samples, scans) if len(scan)])
        # mmengine calls this inside autocast; coordinates must not become half precision.
        with torch.autocast(self.device.type, enabled=False):
            return dict(inputs=self.collate(data, training), data_samples=data['data_samples'])

    def _refuse_far(self, scans: list[Tensor], samples: list) -> None:
        """As ``voxelize`` does, but here frames have names, and scans are still with the host."""
        if not scans or scans[0].device.type != 'cpu':
            return
        axes = [np.ascontiguousarray(scan[:, :3].numpy().T) for scan in scans]  # of rows, numpy takes tenfold the time
        low, high = (np.array([bound(scan, axis=1) for scan in axes], float) for bound in (np.min, np.max))  # (B, 3)
        reach = np.maximum(high, -low).max(1) / self.voxel_size_m  # (B,)
        cells = ((high.max(0) - low.min(0)) / self.voxel_size_m + 2).prod() * len(scans)
        if not (reach.max() < MOST_STEPS and cells < MOST_CELLS):  # NaN is below nothing, and argmax finds it
            worst = int(reach.argmax())
            raise InputError(
                f'the frame {frame_names(samples)[worst]} with a point {reach[worst] * self.voxel_size_m:g} m away',
                f'points in metres from the sensor, whose cells of {self.voxel_size_m:g} m can be numbered',
                'correct the coordinates, or leave far points out (PointsRangeFilter)',
            )

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
