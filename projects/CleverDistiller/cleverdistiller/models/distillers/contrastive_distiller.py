from abc import abstractmethod

import torch.nn.functional as F
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from cleverdistiller.models.distillers.distiller import Distiller
from cleverdistiller.structures import DistillationInputs


class ContrastiveDistiller(Distiller):
    """Points must find their own place in the images among others: what PPKT and SLidR share.

    The student's features and the frozen teacher's patches are both mapped linearly to E channels. Both maps are
    learned and discarded afterwards.

    Args:
        teacher (dict): See :class:`Distiller`.
        student (dict): See :class:`Distiller`.
        contrastive_loss (dict): :class:`InfoNCELoss`.
        embed_channels (int): E.
        **kwargs: For :class:`Distiller`.
    """

    def __init__(
        self, teacher: dict, student: dict, contrastive_loss: dict, embed_channels: int = 64, **kwargs
    ) -> None:
        super().__init__(teacher, student, **kwargs)
        self.point_head = nn.Linear(self.student.out_channels, embed_channels)
        self.image_head = nn.Conv2d(self.teacher.embed_dim, embed_channels, 1)
        self.contrastive_loss = MODELS.build(contrastive_loss)

    def loss(self, inputs: DistillationInputs, data_samples: list) -> dict[str, Tensor]:
        """See :meth:`Distiller.loss`.

        Returns:
            dict[str, Tensor]: ``loss_distill``, and the counts ``pairs`` and ``contrasted``.
        """
        features = self.student(inputs.voxels)  # (M, C)
        # Upsampling comes later: a 1x1 convolution, bias included, commutes with bilinear weights, which add up to 1.
        image_embeddings = self.image_head(self.teacher_features(inputs).patches.float())  # (V, E, h, w)
        queries, keys = self.contrast(features, image_embeddings, inputs)  # (K, E) each
        losses = dict(loss_distill=self.contrastive_loss(queries, keys))
        # Not optimised, only logged.
        losses['pairs'] = queries.new_full((), len(inputs.pairs))
        losses['contrasted'] = queries.new_full((), len(queries))
        return losses

    @abstractmethod
    def contrast(self, features: Tensor, image_embeddings: Tensor, inputs: DistillationInputs) -> tuple[Tensor, Tensor]:
        """What is told apart.

        Args:
            features (Tensor): (M, C), the student's.
            image_embeddings (Tensor): (V, E, h, w).
            inputs (DistillationInputs): The batch.

        Returns:
            tuple[Tensor, Tensor]: Queries from the points and keys from the images, (K, E) each.
        """

    def embed_points(self, features: Tensor, inputs: DistillationInputs) -> Tensor:
        """(M, C) voxel features to (P, E) unit vectors, one a paired point."""
        return F.normalize(self.point_head(self.at_points(features, inputs)).float(), dim=1)
