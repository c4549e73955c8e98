import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor

from cleverdistiller.models.teachers import FrozenTeacher
from cleverdistiller.ops.pixel_sampling import sample_pixel_features
from cleverdistiller.ops.voxelize import devoxelize, gather_rows
from cleverdistiller.structures import DistillationInputs


@MODELS.register_module()
class CleverDistiller(BaseModel):
    """CleverDistiller (arXiv 2503.09878): distil a frozen image model into a LiDAR backbone without labels.

    L = L_distill + w (L_occupancy + L_intensity), where L_distill compares each paired point's projected
    student feature with the teacher's feature at its pixel. With a linear head and without occupancy head
    this is ScaLR's objective.

    Args:
        teacher (dict): A :class:`FrozenTeacher`. Never in the state dict, optimiser or EMA.
        student (dict): Maps a VoxelGrid to (M, C); tells C as ``out_channels``.
        projection_head (dict): (P, C) to (P, D); both widths are filled in.
        distillation_loss (dict): A :class:`FeatureSimilarityLoss`.
        occupancy_head (dict | None): :class:`ALSOOccupancyHead`; C is filled in.
        align_corners (bool): How pixels meet patches, see ``sample_pixel_features``.
        data_preprocessor (dict | None): :class:`DistillationDataPreprocessor`.
    """

    def __init__(
        self,
        teacher: dict,
        student: dict,
        projection_head: dict,
        distillation_loss: dict,
        occupancy_head: dict | None = None,
        align_corners: bool = True,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.student = MODELS.build(student)
        # Past nn.Module's registration: what is no submodule is in no state dict, optimiser, EMA or DDP.
        teacher: FrozenTeacher = MODELS.build(teacher)
        object.__setattr__(self, 'teacher', teacher)
        self.projection_head = MODELS.build(
            dict(projection_head, in_channels=self.student.out_channels, out_channels=teacher.embed_dim)
        )
        self.distillation_loss = MODELS.build(distillation_loss)
        self.occupancy_head = occupancy_head and MODELS.build(
            dict(occupancy_head, in_channels=self.student.out_channels)
        )
        self.align_corners = align_corners

    def forward(self, inputs: DistillationInputs, data_samples: list, mode: str = 'tensor'):
        """mmengine's entry: ``loss`` trains, ``predict`` and ``tensor`` give student features."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        features = self.student(inputs.voxels)
        return self.split_by_scan(features, inputs) if mode == 'predict' else features

    def loss(self, inputs: DistillationInputs, data_samples: list) -> dict[str, Tensor]:
        """Section 3 of the paper.

        Args:
            inputs (DistillationInputs): One batch.
            data_samples (list): Not used: there are no labels.

        Returns:
            dict[str, Tensor]: ``loss_distill``, ``loss_occupancy``, ``loss_intensity`` and two counts.
        """
        voxels, pairs = inputs.voxels, inputs.pairs
        # 3.1 The student sees the whole sweep: one feature a voxel.
        student_features = self.student(voxels)  # (M, C)
        # 3.1 The frozen teacher sees all cameras at once: one feature a patch.
        patch_features = self.teacher(inputs.images)  # (V, D, h, w)
        # 3.2 Project the student's feature of each paired point into the teacher's space ...
        q_point = self.projection_head(gather_rows(student_features, voxels.point_to_voxel[pairs.point_index]))
        # ... and look the teacher's up at its pixel.
        q_pixel = sample_pixel_features(
            patch_features, pairs.image_index, pairs.uv_px, inputs.images.shape[-2:], self.align_corners
        )  # (P, D)
        # 3.2 Eq. 1: direct feature similarity, one mean per camera view.
        num_images = len(inputs.images)
        losses = dict(loss_distill=self.distillation_loss(q_point, q_pixel, pairs.image_index, num_images))
        # 3.3 Occupancy: the same features must tell free from filled space around their points.
        if self.occupancy_head is not None:
            losses.update(self.occupancy_head.loss(student_features, voxels, inputs.points, inputs.queries))
        # Not optimised, only logged: views without a pair were skipped in Eq. 1.
        losses['pairs'] = pairs.image_index.new_tensor(len(pairs)).float()
        losses['empty_views'] = (torch.bincount(pairs.image_index, minlength=num_images) == 0).float().sum()
        return losses

    @staticmethod
    def split_by_scan(features: Tensor, inputs: DistillationInputs) -> list[dict[str, Tensor]]:
        """(M, C) voxel features to one dict a scan with ``point_features`` (N_scan, C)."""
        return [dict(point_features=part) for part in devoxelize(features, inputs)]

    def _apply(self, fn, *args, **kwargs):
        """Move the teacher along (``.to``, ``.cuda``), though it is no submodule."""
        self.teacher._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)
