from collections.abc import Mapping

import torch.nn.functional as F
from mmdet3d.registry import MODELS
from torch import Tensor

from cleverdistiller.models.auxiliaries.auxiliary import Auxiliary, width_of
from cleverdistiller.models.teachers import TeacherHolder
from cleverdistiller.structures import DistillationInputs, TeacherFeatures


@MODELS.register_module()
class AnotherTeacher(TeacherHolder, Auxiliary):
    """A second frozen teacher with a head of its own. Several are several of these.

    Its images are the loaded ones, resized (bilinear, antialiased) where it wants another size.

    Args:
        student_channels (Mapping[str, int]): C of each tap; filled in.
        teacher_channels (int): D of the main teacher; not used.
        teacher (dict): A :class:`FrozenTeacher`. In no state dict, optimiser or EMA.
        projection_head (dict): (P, C) to (P, D) of this teacher; both widths are filled in.
        distillation_loss (dict): A :class:`FeatureSimilarityLoss`, with its weight.
        tap (str): What of the student.
        name (str): Of the loss.
    """

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: int,
        teacher: dict,
        projection_head: dict,
        distillation_loss: dict,
        tap: str = 'last',
        name: str = 'another_teacher',
    ) -> None:
        super().__init__()
        self.name, self.tap, self.student_taps = name, tap, (tap,)
        self.hold(teacher)
        self.projection_head = MODELS.build(
            dict(projection_head, in_channels=width_of(tap, student_channels), out_channels=self.teacher.embed_dim)
        )
        self.distillation_loss = MODELS.build(distillation_loss)

    def loss(
        self, student: Mapping[str, Tensor], teacher: TeacherFeatures, inputs: DistillationInputs, distiller
    ) -> dict[str, Tensor]:
        """See :meth:`Auxiliary.loss`."""
        images = inputs.images
        if images.shape[-2:] != self.teacher.image_size_hw:
            images = F.interpolate(images, self.teacher.image_size_hw, mode='bilinear', antialias=True)
        q_point = self.projection_head(distiller.at_points(student[self.tap], inputs))  # (P, D)
        q_pixel = distiller.at_pixels(self.teacher(images), inputs)  # (P, D)
        loss = self.distillation_loss(q_point, q_pixel, inputs.pairs.image_index, len(images))
        return {f'loss_{self.name}': loss}
