from torch import nn

from cleverdistiller.models.teachers.frozen_teacher import FrozenTeacher


class TeacherHolder(nn.Module):
    """A module with a teacher that is no part of it: in no state dict, optimiser, EMA or DDP."""

    teacher: FrozenTeacher

    def hold(self, teacher: FrozenTeacher) -> None:
        """Keep the teacher past nn.Module's registration.

        Args:
            teacher (FrozenTeacher): A built one.
        """
        object.__setattr__(self, 'teacher', teacher)

    def _apply(self, fn, *args, **kwargs):
        """Move the teacher along (``.to``, ``.cuda``), though it is no submodule."""
        self.teacher._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)
