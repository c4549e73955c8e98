from collections.abc import Mapping

from mmdet3d.registry import MODELS
from torch import Tensor

from cleverdistiller.models.auxiliaries.auxiliary import Auxiliary, width_of
from cleverdistiller.structures import DistillationInputs, TeacherFeatures


@MODELS.register_module()
class BlockMatching(Auxiliary):
    """A further block of the teacher, matched by a head of its own, as HilDA matches the last two.

    HilDA averages over its blocks: ``weight=0.5`` here and in ``distillation_loss`` is its

        L_distill = 1/2 (L(H_1(f_1), block -1) + L(H_2(f_2), block -2)),

    with f_1 the student's last stage and f_2 the one before it, where a point reads its parent voxel.
    ``tap='last'`` is the control: two heads on the same features.

    Args:
        student_channels (Mapping[str, int]): C of each tap; filled in.
        teacher_channels (int): D; filled in.
        projection_head (dict): (P, C) to (P, D); both widths are filled in.
        distillation_loss (dict): A :class:`FeatureSimilarityLoss`, with its weight.
        block (int): Which block of the teacher; -1 is the last.
        tap (str): What of the student: ``last`` or ``stride_2``.
        name (str): Of the loss.
    """

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: int,
        projection_head: dict,
        distillation_loss: dict,
        block: int = -2,
        tap: str = 'stride_2',
        name: str = 'block',
    ) -> None:
        super().__init__()
        self.name, self.block, self.tap = name, block, tap
        self.student_taps, self.teacher_blocks = (tap,), (block,)
        self.projection_head = MODELS.build(
            dict(projection_head, in_channels=width_of(tap, student_channels), out_channels=teacher_channels)
        )
        self.distillation_loss = MODELS.build(distillation_loss)

    def loss(
        self, student: Mapping[str, Tensor], teacher: TeacherFeatures, inputs: DistillationInputs, distiller
    ) -> dict[str, Tensor]:
        """See :meth:`Auxiliary.loss`."""
        q_point = self.projection_head(distiller.at_points(student[self.tap], inputs))  # (P, D)
        q_pixel = distiller.at_pixels(teacher.blocks[self.block], inputs)  # (P, D)
        loss = self.distillation_loss(q_point, q_pixel, inputs.pairs.image_index, len(inputs.images))
        return {f'loss_{self.name}': loss}
