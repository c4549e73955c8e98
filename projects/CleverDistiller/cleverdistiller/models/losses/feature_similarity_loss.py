from abc import ABCMeta, abstractmethod
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cleverdistiller.errors import InputError
from cleverdistiller.models.losses.functional import global_mean, mean_over_views

# Pairs of one step of the loss: unit vectors and their differences are made again for the gradient rather than kept.
# Measured on a CPU: at D = 384 and 80,000 points a scan, that is a quarter of a training step's page faults less.
PAIRS_AT_A_TIME = 8192


class FeatureSimilarityLoss(nn.Module, metaclass=ABCMeta):
    """Distance of projected student features to teacher features, averaged per camera.

    Args:
        average (str): ``view``: mean over a camera's pairs, then over the cameras that have any (the
            paper's one loss per view). ``pooled``: mean over all pairs of the batch (ScaLR).
        weight (float): Factor on the loss.

    Raises:
        InputError: If ``average`` is another word.
    """

    def __init__(self, average: str = 'view', weight: float = 1.0) -> None:
        super().__init__()
        if average not in ('view', 'pooled'):
            raise InputError(f'average={average!r}', 'view or pooled', 'correct distillation_loss in the config')
        self.average = average
        self.weight = weight

    @staticmethod
    @abstractmethod
    def distance(projected: Tensor, target: Tensor) -> Tensor:
        """(P, D) and (P, D) to (P,)."""

    def forward(self, projected: Tensor, target: Tensor, image_index: Tensor, num_images: int) -> Tensor:
        """The loss.

        Args:
            projected (Tensor): (P, D), the head's output.
            target (Tensor): (P, D), the teacher's features at the paired pixels.
            image_index (Tensor): (P,) int64, camera image of each pair.
            num_images (int): V.

        Returns:
            Tensor: (), 0 with finite gradients where there is no pair.
        """
        with torch.autocast(projected.device.type, enabled=False):
            distance = self._distance_by_parts(projected, target)
            if self.average == 'pooled':
                return self.weight * global_mean(distance.sum(), len(distance))
            return self.weight * mean_over_views(distance, image_index, num_images)

    def _distance_by_parts(self, projected: Tensor, target: Tensor) -> Tensor:
        # No random numbers in a distance, so no state of theirs is kept, for which the host would wait.
        again = partial(checkpoint, self.distance, use_reentrant=False, preserve_rng_state=False)
        return torch.cat(list(map(again, projected.split(PAIRS_AT_A_TIME), target.split(PAIRS_AT_A_TIME))))
