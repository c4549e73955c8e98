from collections.abc import Sequence

import torch
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from cleverdistiller.errors import InputError
from cleverdistiller.models.distillers.distiller import Distiller
from cleverdistiller.ops.voxelize import count_rows
from cleverdistiller.structures import DistillationInputs, VoxelGrid


@MODELS.register_module()
class CleverDistiller(Distiller):
    """CleverDistiller (arXiv 2503.09878): distil a frozen image model into a LiDAR backbone without labels.

    L = L_distill + w (L_occupancy + L_intensity), where L_distill compares each paired point's projected
    student feature with the teacher's feature at its pixel. With a linear head and without occupancy head
    this is ScaLR's objective.

    Args:
        teacher (dict): See :class:`Distiller`.
        student (dict): See :class:`Distiller`.
        projection_head (dict): (P, C) to (P, D); both widths are filled in.
        distillation_loss (dict): A :class:`FeatureSimilarityLoss`.
        occupancy_head (dict | None): :class:`ALSOOccupancyHead`; C is filled in.
        auxiliaries (Sequence[dict]): An :class:`Auxiliary` each: what goes beyond the paper's method.
        **kwargs: For :class:`Distiller`.

    Raises:
        InputError: If two auxiliaries have one name.
    """

    def __init__(
        self,
        teacher: dict,
        student: dict,
        projection_head: dict,
        distillation_loss: dict,
        occupancy_head: dict | None = None,
        auxiliaries: Sequence[dict] = (),
        **kwargs,
    ) -> None:
        super().__init__(teacher, student, **kwargs)
        student_width, teacher_width = self.student.out_channels, self.teacher.embed_dim
        self.projection_head = MODELS.build(
            dict(projection_head, in_channels=student_width, out_channels=teacher_width)
        )
        self.distillation_loss = MODELS.build(distillation_loss)
        self.occupancy_head = occupancy_head and MODELS.build(dict(occupancy_head, in_channels=student_width))
        widths = getattr(self.student, 'tap_channels', dict(last=student_width))
        self.auxiliaries = nn.ModuleList(
            MODELS.build(dict(auxiliary, student_channels=widths, teacher_channels=teacher_width))
            for auxiliary in auxiliaries
        )
        names = [auxiliary.name for auxiliary in self.auxiliaries]
        if len(set(names)) < len(names):
            raise InputError(f'auxiliaries {names}', 'a name of its own for each', 'give them `name` in the config')
        self.teacher_blocks = tuple(dict.fromkeys(block for each in self.auxiliaries for block in each.teacher_blocks))
        self.needs_class_token = any(each.needs_class_token for each in self.auxiliaries)
        self.needs_images = any(each.needs_images for each in self.auxiliaries)

    def loss(self, inputs: DistillationInputs, data_samples: list) -> dict[str, Tensor]:
        """Section 3 of the paper.

        Args:
            inputs (DistillationInputs): One batch.
            data_samples (list): Not used: there are no labels.

        Returns:
            dict[str, Tensor]: ``loss_distill``, ``loss_occupancy``, ``loss_intensity``, those of the auxiliaries, and
            two counts.
        """
        voxels, pairs = inputs.voxels, inputs.pairs
        # 3.1 The student sees the whole sweep: one feature a voxel.
        student = self._student_features(voxels)  # (M, C) by tap
        # 3.1 The frozen teacher sees all cameras at once: one feature a patch.
        teacher = self.teacher_features(inputs)
        # 3.2 Project the student's feature of each paired point into the teacher's space ...
        q_point = self.projection_head(self.at_points(student['last'], inputs))  # (P, D)
        # ... and look the teacher's up at its pixel.
        q_pixel = self.at_pixels(teacher.patches, inputs)  # (P, D)
        # 3.2 Eq. 1: direct feature similarity, one mean per camera view.
        num_images = inputs.num_images
        losses = dict(loss_distill=self.distillation_loss(q_point, q_pixel, pairs.image_index, num_images))
        # 3.3 Occupancy: the same features must tell free from filled space around their points.
        if self.occupancy_head is not None:
            losses.update(self.occupancy_head.loss(student['last'], voxels, inputs.points, inputs.queries))
        # Beyond the paper.
        for auxiliary in self.auxiliaries:
            losses.update(auxiliary.loss(student, teacher, inputs, self))
        # Not optimised, only logged: views without a pair were skipped in Eq. 1.
        losses['pairs'] = torch.full((), float(len(pairs)), device=pairs.image_index.device)
        losses['empty_views'] = (count_rows(pairs.image_index, num_images) == 0).float().sum()
        return losses

    def _student_features(self, voxels: VoxelGrid) -> dict[str, Tensor]:
        taps = {tap for auxiliary in self.auxiliaries for tap in auxiliary.student_taps}
        if taps <= {'last'}:
            return dict(last=self.student(voxels))
        return self.student.forward_taps(voxels, taps | {'last'})
