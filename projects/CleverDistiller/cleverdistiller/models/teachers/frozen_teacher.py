from abc import ABCMeta, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from cleverdistiller.errors import InputError
from cleverdistiller.ops.state_dict_hash import state_dict_hash
from cleverdistiller.structures import TeacherFeatures


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

    def look(self, images: Tensor, blocks: Sequence[int] = (), class_token: bool = False) -> TeacherFeatures:
        """Everything that is asked of the teacher, in one pass.

        Args:
            images (Tensor): As of :meth:`forward`.
            blocks (Sequence[int]): Further blocks whose patches are wanted; -1 is the last.
            class_token (bool): Whether the class token is wanted.

        Returns:
            TeacherFeatures: ``patches`` is what :meth:`forward` gives.

        Raises:
            InputError: If the teacher has no such block or token.
        """
        if blocks or class_token:
            raise InputError(
                f'{type(self).__name__} asked for blocks {tuple(blocks)}' + ' and its class token' * class_token,
                'a teacher that knows more than its patches, such as TimmViTTeacher',
                'leave the auxiliary out of model.auxiliaries, or implement look()',
            )
        return TeacherFeatures(self(images), {})

    def recall(
        self, features: TeacherFeatures, blocks: Sequence[int] = (), class_token: bool = False
    ) -> TeacherFeatures:
        """The same for features that were loaded in the place of images.

        Args:
            features (TeacherFeatures): Of the V images.
            blocks (Sequence[int]): As of :meth:`look`.
            class_token (bool): As of :meth:`look`.

        Returns:
            TeacherFeatures: With all that is asked for.

        Raises:
            InputError: Unless this is a :class:`CachedTeacher`, which has checked where they come from.
        """
        raise InputError(
            f'a batch with features of a cache for {type(self).__name__}, which has not checked who made them',
            'a CachedTeacher around it',
            'give tools/train.py --teacher-cache, or write model.teacher as CachedTeacher in the config',
        )

    def weights_sha256(self) -> str:
        """SHA-256 of the weights as they were given, the same on every machine."""
        return state_dict_hash(self)
