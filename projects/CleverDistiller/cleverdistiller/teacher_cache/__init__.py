"""Teacher features of images, computed once: the files of a cache, how they are written and how they are read.

A cache is a folder with ``cache.json`` (:class:`CacheRecord`: what made it) and shards, safetensors files of some
hundred images each. ``tools/cache_teacher.py`` writes it, the transform ``LoadTeacherFeatures`` reads it, and the model
``CachedTeacher`` refuses one that another teacher made.
"""

from cleverdistiller.teacher_cache.cache_record import CacheRecord
from cleverdistiller.teacher_cache.shard import ImageFile, Shard
from cleverdistiller.teacher_cache.teacher_cache import TeacherCache

__all__ = ['CacheRecord', 'ImageFile', 'Shard', 'TeacherCache']
