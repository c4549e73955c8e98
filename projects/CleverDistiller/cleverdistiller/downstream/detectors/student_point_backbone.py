from collections.abc import Sequence
from contextlib import nullcontext

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from cleverdistiller.downstream.student_weights import REQUIRED, StudentOptions, transfer_student
from cleverdistiller.models.data_preprocessors.scan_data_preprocessor import scan_of_points
from cleverdistiller.ops.voxelize import gather_rows, voxelize
from cleverdistiller.structures import VoxelGrid

_OPTIONS = StudentOptions('model.backbone', 'model.backbone.student', 'model.backbone.voxel_size_m')


@MODELS.register_module()
class StudentPointBackbone(BaseModule):
    """A distilled student in the place of PointRCNN's PointNet++ and its neck: points in, features of points out.

    The points are put on the pretraining's grid with the pretraining's rule, the student gives each voxel a feature,
    a linear layer brings it to the heads' width, and each point takes its voxel's. In PointRCNN only the losses of the
    first stage train it: the second stage detaches what it pools.

    Another learning rate for the student than for the rest:
    ``optim_wrapper.paramwise_cfg.custom_keys={'backbone.student': dict(lr_mult=0.1)}``.

    Args:
        student (dict): Maps a VoxelGrid to (M, C); tells C as ``out_channels``.
        voxel_size_m (float): Edge of a voxel.
        in_channels (int): x, y, z and further channels that the student takes; a cloud may have more. Intensity comes
            in the 0..1 of pretraining: the datasets' loading sees to that, for scans and pasted objects.
        out_channels (int): Width of the heads.
        normalize (bool): BatchNorm and ReLU after the linear layer, as PointNet++'s neck ends.
        student_weights (str | None): An exported student, loaded before training starts. None starts from random
            weights. ``required`` asks for one of the two.
        allow_other_voxel_size (bool): Take a student that was distilled on another grid.
        allow_missing (Sequence[str]): Beginnings of the names of the student's tensors that may start at random.
        frozen (bool): Train what follows the student alone: no gradient reaches it, and its BatchNorm keeps its
            statistics.
        random_representative (bool): In training, each voxel takes the features of one of its points at random, as in
            pretraining; False: of its first point, as in testing.
    """

    def __init__(
        self,
        student: dict,
        voxel_size_m: float,
        in_channels: int = 4,
        out_channels: int = 128,
        normalize: bool = False,
        student_weights: str | None = REQUIRED,
        allow_other_voxel_size: bool = False,
        allow_missing: Sequence[str] = (),
        frozen: bool = False,
        random_representative: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.voxel_size_m = voxel_size_m
        self.in_channels = in_channels
        self.student_weights = student_weights
        self.allow_other_voxel_size = allow_other_voxel_size
        self.allow_missing = tuple(allow_missing)
        self.frozen = frozen
        self.random_representative = random_representative
        self.student = MODELS.build(student).requires_grad_(not frozen)
        self.projection = nn.Sequential(nn.Linear(self.student.out_channels, out_channels))
        if normalize:
            self.projection.extend([nn.BatchNorm1d(out_channels), nn.ReLU(inplace=True)])

    def init_weights(self) -> None:
        """Called by the runner before training, not before testing: a test checkpoint holds all weights.

        Raises:
            InputError: See :func:`transfer_student`.
        """
        super().init_weights()
        transfer_student(
            self.student,
            self.student_weights,
            self.voxel_size_m,
            _OPTIONS,
            self.allow_other_voxel_size,
            self.allow_missing,
        )

    def train(self, mode: bool = True) -> 'StudentPointBackbone':
        """Frozen stays frozen, whoever calls."""
        super().train(mode)
        if self.frozen:
            self.student.eval()
        return self

    def forward(self, clouds: Tensor | Sequence[Tensor], num_points: int | None = None) -> dict[str, Tensor]:
        """Features of the points.

        Args:
            clouds (Tensor | Sequence[Tensor]): (B, N, 3 + c) or (N_cloud, 3 + c) each, float32: metres, then
                intensity from 0 to 1.
            num_points (int | None): How many of each cloud's points get a feature, the first ones; all of them share
                the grid. None: all, and clouds of one size.

        Returns:
            dict[str, Tensor]: ``fp_xyz`` (B, N, 3) and ``fp_features`` (B, out_channels, N).
        """
        voxels = self.voxelize(clouds)
        with torch.no_grad() if self.frozen else nullcontext():
            features = self.student(voxels)  # (M, C)
        rows = self.projection(features)  # per voxel: there are fewer of them
        of_points = voxels.point_to_voxel.split([len(cloud) for cloud in clouds])
        return dict(
            fp_xyz=torch.stack([cloud[:num_points, :3] for cloud in clouds]),
            fp_features=torch.stack([gather_rows(rows, voxel[:num_points]).T for voxel in of_points]),
        )

    @torch.no_grad()
    def voxelize(self, clouds: Tensor | Sequence[Tensor]) -> VoxelGrid:
        """Put whole clouds on the pretraining's grid."""
        points = torch.cat([cloud[:, : self.in_channels] for cloud in clouds])  # (N, 3 + c)
        cloud_index = scan_of_points(list(map(len, clouds)), points.device)
        at_random = self.training and self.random_representative
        return voxelize(points, cloud_index, len(clouds), self.voxel_size_m, at_random)
