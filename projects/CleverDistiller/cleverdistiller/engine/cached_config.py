"""The two changes that make a pretraining config read a cache of teacher features, and their undoing."""

from copy import deepcopy

from mmengine.config import Config

from cleverdistiller.errors import InputError


def with_teacher_cache(cfg: Config, cache: str) -> Config:
    """Let a config read the teacher's features instead of images.

    Args:
        cfg (Config): For pretraining; it is not changed.
        cache (str): Folder that ``tools/cache_teacher.py`` has filled for it.

    Returns:
        Config: With a :class:`CachedTeacher` around the teacher and :class:`LoadTeacherFeatures` for
        :class:`LoadCameraImages`.

    Raises:
        InputError: If the config is none for pretraining, or reads a cache already.
    """
    cfg = deepcopy(cfg)
    step = _loading_step(cfg, 'LoadCameraImages')
    step.update(type='LoadTeacherFeatures', cache=str(cache), data_root=data_root_of(cfg))
    cfg.model.teacher = dict(type='CachedTeacher', teacher=cfg.model.teacher, cache=str(cache))
    return cfg


def without_teacher_cache(cfg: Config) -> Config:
    """Let a config look at images again; one that does is left as it is.

    Args:
        cfg (Config): For pretraining; it is not changed.

    Returns:
        Config: With its teacher and :class:`LoadCameraImages`.

    Raises:
        InputError: If the config is none for pretraining.
    """
    cfg = deepcopy(cfg)
    if reads_cache(cfg):
        cfg.model.teacher = cfg.model.teacher.teacher
        step = _loading_step(cfg, 'LoadTeacherFeatures')
        step.type = 'LoadCameraImages'
        for name in ('cache', 'data_root'):
            step.pop(name, None)
    _loading_step(cfg, 'LoadCameraImages')
    return cfg


def reads_cache(cfg: Config) -> bool:
    """Whether a config's teacher is a :class:`CachedTeacher`."""
    return cfg.get('model', {}).get('teacher', {}).get('type') == 'CachedTeacher'


def _loading_step(cfg: Config, name: str) -> dict:
    pipeline = cfg.get('train_dataloader', {}).get('dataset', {}).get('pipeline', [])
    steps = [step for step in pipeline if step['type'] == name]
    if len(steps) != 1 or 'teacher' not in cfg.get('model', {}):
        raise InputError(
            f'{cfg.filename} with {len(steps)} steps {name} in its training pipeline',
            'a pretraining config with one, and a teacher in its model',
            'give one of configs/pretrain',
        )
    return steps[0]


def data_root_of(cfg: Config) -> str:
    """What the names of a cache's images are relative to."""
    return cfg.train_dataloader.dataset.get('data_root') or ''
