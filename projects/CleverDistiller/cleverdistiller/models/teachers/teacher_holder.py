from mmdet3d.registry import MODELS
from torch import nn

from cleverdistiller.models.teachers.frozen_teacher import FrozenTeacher


class TeacherHolder(nn.Module):
    """A module with a teacher that is no part of it: in no state dict, optimiser, EMA or DDP."""

    teacher: FrozenTeacher

    def hold(self, teacher: dict) -> None:
        """Build the teacher and keep it past nn.Module's registration.

        Args:
            teacher (dict): Config of a :class:`FrozenTeacher`.
        """
        object.__setattr__(self, 'teacher', MODELS.build(teacher))

    def _apply(self, fn, *args, **kwargs):
        """Move the teacher along (``.to``, ``.cuda``), though it is no submodule."""
        self.teacher._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)
