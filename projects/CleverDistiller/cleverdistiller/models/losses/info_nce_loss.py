import torch
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from cleverdistiller.errors import InputError
from cleverdistiller.models.losses.functional import info_nce


@MODELS.register_module()
class InfoNCELoss(nn.Module):
    """InfoNCE (arXiv 1807.03748): among all keys, each query must find its own.

        L = mean_i -log( exp(q_i . k_i / t) / sum_j exp(q_i . k_j / t) )

    From points to pixels only, as PPKT and SLidR use it. Other queries' keys are the negatives, those of the same
    rank alone, as in the originals: more GPUs give more batches, not more negatives.

    Args:
        temperature (float): t.

    Raises:
        InputError: If the temperature is not above 0.
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        if not temperature > 0:
            raise InputError(f'temperature={temperature}', 'above 0', 'correct contrastive_loss in the config')
        self.temperature = temperature

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The loss.

        Args:
            queries (Tensor): (K, E), of points or superpoints.
            keys (Tensor): (K, E), of pixels or superpixels; row i is query i's.

        Returns:
            Tensor: (), 0 with finite gradients where there are no rows.
        """
        with torch.autocast(queries.device.type, enabled=False):
            return info_nce(queries.float(), keys.float(), self.temperature)
