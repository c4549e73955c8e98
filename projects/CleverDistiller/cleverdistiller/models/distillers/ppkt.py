from dataclasses import replace

import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.models.distillers.contrastive_distiller import ContrastiveDistiller
from cleverdistiller.structures import DistillationInputs


@MODELS.register_module()
class PPKT(ContrastiveDistiller):
    """PPKT (arXiv 2104.04687): a point must find its pixel among those of other points.

    Args:
        teacher (dict): See :class:`ContrastiveDistiller`.
        student (dict): See :class:`ContrastiveDistiller`.
        contrastive_loss (dict): See :class:`ContrastiveDistiller`.
        num_pairs (int): So many pairs are drawn from a batch on each GPU.
        **kwargs: For :class:`ContrastiveDistiller`.

    Raises:
        InputError: If ``num_pairs`` is below 1.
    """

    def __init__(self, teacher: dict, student: dict, contrastive_loss: dict, num_pairs: int = 4096, **kwargs) -> None:
        super().__init__(teacher, student, contrastive_loss, **kwargs)
        if num_pairs < 1:
            raise InputError(f'num_pairs={num_pairs}', '1 or more', 'correct model.num_pairs in the config')
        self.num_pairs = num_pairs

    def contrast(self, features: Tensor, image_embeddings: Tensor, inputs: DistillationInputs) -> tuple[Tensor, Tensor]:
        """See :meth:`ContrastiveDistiller.contrast`; K = ``num_pairs``, or all P where there are fewer."""
        drawn = torch.randperm(len(inputs.pairs), device=features.device)[: self.num_pairs]
        inputs = replace(inputs, pairs=inputs.pairs.select(drawn))
        pixels = F.normalize(self.at_pixels(image_embeddings, inputs), dim=1)
        return self.embed_points(features, inputs), pixels
