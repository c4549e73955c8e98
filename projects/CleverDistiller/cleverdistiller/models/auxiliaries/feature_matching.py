from abc import abstractmethod
from collections.abc import Mapping

from mmdet3d.registry import MODELS
from torch import Tensor

from cleverdistiller.models.auxiliaries.auxiliary import Auxiliary, width_of
from cleverdistiller.structures import DistillationInputs, TeacherFeatures


class FeatureMatching(Auxiliary):
    """Further features of images, matched as :class:`CleverDistiller` matches its own; a subclass says which.

    Args:
        student_channels (Mapping[str, int]): C of each tap.
        out_channels (int): D of those features.
        projection_head (dict): (P, C) to (P, D); both widths are filled in.
        distillation_loss (dict): A :class:`FeatureSimilarityLoss`, with its weight.
        tap (str): What of the student.
        name (str): Of the loss.
    """

    def __init__(
        self,
        student_channels: Mapping[str, int],
        out_channels: int,
        projection_head: dict,
        distillation_loss: dict,
        tap: str,
        name: str,
    ) -> None:
        super().__init__()
        self.name, self.tap, self.student_taps = name, tap, (tap,)
        self.projection_head = MODELS.build(
            dict(projection_head, in_channels=width_of(tap, student_channels), out_channels=out_channels)
        )
        self.distillation_loss = MODELS.build(distillation_loss)

    @abstractmethod
    def patches(self, teacher: TeacherFeatures, images: Tensor | None) -> Tensor:
        """The features to match.

        Args:
            teacher (TeacherFeatures): What the main teacher was asked for.
            images (Tensor | None): (V, 3, H, W), as loaded; None where cached features were loaded in their place.

        Returns:
            Tensor: (V, D, h, w).
        """

    def loss(
        self, student: Mapping[str, Tensor], teacher: TeacherFeatures, inputs: DistillationInputs, distiller
    ) -> dict[str, Tensor]:
        """See :meth:`Auxiliary.loss`."""
        q_point = self.projection_head(distiller.at_points(student[self.tap], inputs))  # (P, D)
        q_pixel = distiller.at_pixels(self.patches(teacher, inputs.images), inputs)  # (P, D)
        loss = self.distillation_loss(q_point, q_pixel, inputs.pairs.image_index, inputs.num_images)
        return {f'loss_{self.name}': loss}
