from cleverdistiller.models.teachers.cached_teacher import CachedTeacher
from cleverdistiller.models.teachers.frozen_teacher import FrozenTeacher
from cleverdistiller.models.teachers.patch_segmentor import PatchSegmentor
from cleverdistiller.models.teachers.teacher_holder import TeacherHolder
from cleverdistiller.models.teachers.timm_vit_teacher import TimmViTTeacher

__all__ = ['CachedTeacher', 'FrozenTeacher', 'PatchSegmentor', 'TeacherHolder', 'TimmViTTeacher']
