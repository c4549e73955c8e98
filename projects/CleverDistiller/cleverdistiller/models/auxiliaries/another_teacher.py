from collections.abc import Mapping

import torch.nn.functional as F
from mmdet3d.registry import MODELS
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.models.auxiliaries.feature_matching import FeatureMatching
from cleverdistiller.models.teachers import FrozenTeacher, TeacherHolder
from cleverdistiller.structures import TeacherFeatures


@MODELS.register_module()
class AnotherTeacher(TeacherHolder, FeatureMatching):
    """A second frozen teacher with a head of its own. Several are several of these.

    Its images are the loaded ones, resized (bilinear, antialiased) where it wants another size. A cache of the main
    teacher's features has no images for it.

    Args:
        student_channels (Mapping[str, int]): C of each tap; filled in.
        teacher_channels (int): D of the main teacher; not used.
        teacher (dict): A :class:`FrozenTeacher`. In no state dict, optimiser or EMA.
        projection_head (dict): (P, C) to (P, D) of this teacher; both widths are filled in.
        distillation_loss (dict): A :class:`FeatureSimilarityLoss`, with its weight.
        tap (str): What of the student.
        name (str): Of the loss.

    Raises:
        InputError: At a batch without images.
    """

    needs_images = True

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
        teacher: FrozenTeacher = MODELS.build(teacher)
        super().__init__(student_channels, teacher.embed_dim, projection_head, distillation_loss, tap, name)
        self.hold(teacher)

    def patches(self, teacher: TeacherFeatures, images: Tensor | None) -> Tensor:
        """See :meth:`FeatureMatching.patches`."""
        if images is None:
            raise InputError(
                f'{self.name} with a batch of cached features',
                'images for the second teacher to look at',
                'train without --teacher-cache (with LoadCameraImages in the pipeline)',
            )
        if images.shape[-2:] != self.teacher.image_size_hw:
            images = F.interpolate(images, self.teacher.image_size_hw, mode='bilinear', antialias=True)
        return self.teacher(images)
