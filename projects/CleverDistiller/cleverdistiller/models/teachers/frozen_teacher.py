from abc import ABCMeta, abstractmethod

from torch import Tensor, nn


class FrozenTeacher(nn.Module, metaclass=ABCMeta):
    """An image model that only answers: no gradient, always in eval, shared rather than copied.

    A new teacher subclasses this, sets ``embed_dim`` and ``image_size_hw``, builds its network as usual,
    calls :meth:`freeze` at the end of ``__init__`` and implements :meth:`forward`. The distiller keeps it
    out of its state dict, optimiser and EMA.

    Attributes:
        embed_dim (int): D, width of the features.
        image_size_hw (tuple[int, int]): Rows and columns of the images it eats.
    """

    embed_dim: int
    image_size_hw: tuple[int, int]

    def freeze(self) -> None:
        """Forbid gradients and switch to eval for good."""
        self.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> 'FrozenTeacher':
        """Stay in eval whatever is asked: mmengine calls ``model.train()`` at every epoch."""
        return super().train(False)

    def __deepcopy__(self, memo: dict) -> 'FrozenTeacher':
        """An EMA copies its model; a frozen teacher needs no second copy in memory."""
        return self

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Patch features.

        Args:
            images (Tensor): (V, 3, H, W) float RGB in 0..1, not standardised.

        Returns:
            Tensor: (V, D, h, w).
        """
