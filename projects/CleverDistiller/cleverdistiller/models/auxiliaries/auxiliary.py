from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from cleverdistiller.errors import InputError
from cleverdistiller.structures import DistillationInputs, TeacherFeatures

if TYPE_CHECKING:
    from cleverdistiller.models.distillers import Distiller


class Auxiliary(nn.Module, metaclass=ABCMeta):
    """A further signal for the student, beside the distillation of :class:`CleverDistiller`.

    Attributes:
        name (str): Its loss is logged as ``loss_{name}``.
        student_taps (tuple[str, ...]): What it reads of the student.
        teacher_blocks (tuple[int, ...]): Which further blocks it reads of the teacher; -1 is the last.
        needs_class_token (bool): Whether it reads the teacher's class token.
        needs_images (bool): Whether it reads the images themselves, which a cache of teacher features replaces.
    """

    name: str
    student_taps: tuple[str, ...] = ('last',)
    teacher_blocks: tuple[int, ...] = ()
    needs_class_token = False
    needs_images = False

    @abstractmethod
    def loss(
        self,
        student: Mapping[str, Tensor],
        teacher: TeacherFeatures,
        inputs: DistillationInputs,
        distiller: Distiller,
    ) -> dict[str, Tensor]:
        """Weighted loss and what else is logged.

        Args:
            student (Mapping[str, Tensor]): (M, C) by tap.
            teacher (TeacherFeatures): What it asked for.
            inputs (DistillationInputs): The batch.
            distiller (Distiller): Whose student and images these are.

        Returns:
            dict[str, Tensor]: () each; ``loss_{name}`` is optimised.
        """


def width_of(tap: str, student_channels: Mapping[str, int]) -> int:
    """Channels of a tap.

    Args:
        tap (str): Its name.
        student_channels (Mapping[str, int]): Of all taps that the student has.

    Raises:
        InputError: If there is no such tap.
    """
    if tap not in student_channels:
        raise InputError(
            f'tap={tap!r} of an auxiliary', f'one of {sorted(student_channels)}, which this student has', 'choose one'
        )
    return student_channels[tap]
