import inspect
import json
from collections.abc import Mapping, Sequence

from mmdet3d.registry import MODELS
from mmengine.logging import print_log
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.models.teachers.frozen_teacher import FrozenTeacher
from cleverdistiller.structures import TeacherFeatures
from cleverdistiller.teacher_cache import CacheRecord

# The weights' hash stands for the first; a cache is in half precision anyway.
NO_PART_OF_IDENTITY = ('weights', 'half_features')


@MODELS.register_module()
class CachedTeacher(FrozenTeacher):
    """A teacher whose features were written beforehand by ``tools/cache_teacher.py``; it looks at nothing itself.

    The teacher is built once, on the CPU, to see that it is the one that made the cache; then it is dropped.
    ``tools/train.py CONFIG --teacher-cache DIR`` puts this around a config's teacher and :class:`LoadTeacherFeatures`
    in the place of its images.

    Args:
        teacher (dict): The :class:`FrozenTeacher` of the config.
        cache (str): Folder of the cache.

    Raises:
        InputError: If the cache is missing, or another teacher made it: what differs is named.
    """

    def __init__(self, teacher: dict, cache: str) -> None:
        super().__init__()
        original: FrozenTeacher = MODELS.build(teacher)
        record = CacheRecord.read(cache)
        record.check(teacher_identity(teacher, original), cache)
        self.cache, self.cache_id = str(cache), record.cache_id
        self.embed_dim, self.image_size_hw = original.embed_dim, tuple(original.image_size_hw)
        self.freeze()
        print_log(f'Teacher features are read from {cache}: {record.told()}', logger='current')

    def forward(self, images: Tensor) -> Tensor:
        """Not possible: see :meth:`look`."""
        return self.look(images).patches

    def look(self, images: Tensor, blocks: Sequence[int] = (), class_token: bool = False) -> TeacherFeatures:
        """Not possible.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f'images for a CachedTeacher, which only knows the features in {self.cache}',
            'a batch with teacher_features',
            'put LoadTeacherFeatures in the place of LoadCameraImages, or use the config without the cache',
        )

    def recall(
        self, features: TeacherFeatures, blocks: Sequence[int] = (), class_token: bool = False
    ) -> TeacherFeatures:
        """See :meth:`FrozenTeacher.recall`.

        Raises:
            InputError: If the features are of another cache, or lack a block or the class token.
        """
        if features.cache_id != self.cache_id:
            raise InputError(
                f'features of the cache {features.cache_id}',
                f'those of {self.cache}, which is {self.cache_id}',
                'give LoadTeacherFeatures and CachedTeacher the same folder, and start again after rebuilding it',
            )
        lacking = [f'block {block}' for block in blocks if block not in features.blocks]
        lacking += ['class token'] * (class_token and features.class_token is None)
        if lacking:
            raise InputError(
                f'{self.cache} without {", ".join(lacking)}',
                'all that model.auxiliaries read',
                'run tools/cache_teacher.py with this config, into another folder',
            )
        return features


def teacher_identity(config: Mapping, teacher: FrozenTeacher) -> dict:
    """What makes a teacher say what it says.

    Args:
        config (Mapping): What it was built from.
        teacher (FrozenTeacher): The built one.

    Returns:
        dict: Its class, every option, given or by default, and the SHA-256 of its weights, as JSON has them.
    """
    options = {
        name: parameter.default
        for name, parameter in inspect.signature(type(teacher).__init__).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    options.update({name: value for name, value in config.items() if name != 'type'})
    options = {name: value for name, value in options.items() if name not in NO_PART_OF_IDENTITY}
    identity = dict(type=type(teacher).__name__, weights_sha256=teacher.weights_sha256(), **options)
    return json.loads(json.dumps(identity, sort_keys=True))
