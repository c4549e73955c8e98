from collections.abc import Mapping

from mmdet3d.registry import MODELS
from torch import Tensor

from cleverdistiller.models.auxiliaries.feature_matching import FeatureMatching
from cleverdistiller.structures import TeacherFeatures


@MODELS.register_module()
class BlockMatching(FeatureMatching):
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
        super().__init__(student_channels, teacher_channels, projection_head, distillation_loss, tap, name)
        self.block, self.teacher_blocks = block, (block,)

    def patches(self, teacher: TeacherFeatures, images: Tensor | None) -> Tensor:
        """See :meth:`FeatureMatching.patches`."""
        return teacher.blocks[self.block]
