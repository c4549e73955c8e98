import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from cleverdistiller.errors import InputError
from cleverdistiller.models.losses.functional import global_mean
from cleverdistiller.ops.voxelize import gather_rows
from cleverdistiller.structures import OccupancyQueries, VoxelGrid


@MODELS.register_module()
class ALSOOccupancyHead(nn.Module):
    """Occupancy and intensity at query positions from the features of nearby points (ALSO, arXiv 2212.05867).

    For a query q and each supporting point p, with z_p the latent of p's voxel,
    (o, i) = decoder([z_p, q - p]) and

        L = w (BCE(o, occupied) + w_i |i - intensity(surface)|^2)

    averaged over the pairs; queries on the line of sight have no intensity target.

    Args:
        in_channels (int): C, student width.
        latent_channels (int): Width of latent and decoder (ALSO: 128).
        weight (float): w, the paper's 0.05.
        intensity_weight (float): w_i.
        intensity_loss (str): ``mse`` (the paper's text) or ``l1`` (ALSO's code).

    Raises:
        InputError: If ``intensity_loss`` is another word.
    """

    def __init__(
        self,
        in_channels: int,
        latent_channels: int = 128,
        weight: float = 0.05,
        intensity_weight: float = 1.0,
        intensity_loss: str = 'mse',
    ) -> None:
        super().__init__()
        if intensity_loss not in ('mse', 'l1'):
            raise InputError(f'intensity_loss={intensity_loss!r}', 'mse or l1', 'correct the config')
        self.weight = weight
        self.intensity_weight = intensity_weight
        self.intensity_loss = intensity_loss
        self.latent = nn.Linear(in_channels, latent_channels)
        self.decoder = nn.Sequential(
            nn.Linear(latent_channels + 3, latent_channels),
            nn.ReLU(inplace=True),
            nn.Linear(latent_channels, latent_channels),
            nn.ReLU(inplace=True),
            nn.Linear(latent_channels, latent_channels),
            nn.Linear(latent_channels, 2),
        )

    def forward(
        self, features: Tensor, voxels: VoxelGrid, points: Tensor, queries: OccupancyQueries
    ) -> tuple[Tensor, Tensor]:
        """Predict occupancy logit and intensity for every query-support pair.

        Args:
            features (Tensor): (M, C), one a voxel.
            voxels (VoxelGrid): The M voxels.
            points (Tensor): (N, 3 + c), augmented, metres.
            queries (OccupancyQueries): Augmented alike.

        Returns:
            tuple[Tensor, Tensor]: Occupancy logit (S,) and intensity (S,), float32.
        """
        latent = gather_rows(self.latent(features), voxels.point_to_voxel[queries.support_point])  # (S, L)
        offset_m = queries.position_lidar_m[queries.support_query] - points[queries.support_point, :3]  # (S, 3)
        occupancy, intensity = self.decoder(torch.cat([latent, offset_m.to(latent)], 1)).float().unbind(1)
        return occupancy, intensity

    def loss(self, features: Tensor, voxels: VoxelGrid, points: Tensor, queries: OccupancyQueries) -> dict[str, Tensor]:
        """``loss_occupancy`` and ``loss_intensity``, weighted; the arguments are those of :meth:`forward`."""
        occupancy, intensity = self(features, voxels, points, queries)
        with torch.autocast(features.device.type, enabled=False):
            target = queries.occupied[queries.support_query]
            bce = F.binary_cross_entropy_with_logits(occupancy, target, reduction='none')
            loss_occupancy = global_mean(bce.sum(), len(bce))

            target = queries.intensity[queries.support_query]
            known = target >= 0
            # Not [known]: the host would wait to learn how many there are.
            difference = torch.where(known, intensity - target, 0.0)
            error = difference.abs() if self.intensity_loss == 'l1' else difference**2
            loss_intensity = global_mean(error.sum(), known.sum())
        return dict(
            loss_occupancy=self.weight * loss_occupancy,
            loss_intensity=self.weight * self.intensity_weight * loss_intensity,
        )
