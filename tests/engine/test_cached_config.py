"""A config with a cache differs in its teacher and in how images come, and nowhere else."""

import pytest
from mmengine.config import Config

from cleverdistiller.engine.cached_config import with_teacher_cache, without_teacher_cache
from cleverdistiller.errors import InputError
from conftest import REPO

LEAVES = sorted((REPO / 'configs' / 'pretrain').glob('*.py'))


@pytest.mark.parametrize('leaf', LEAVES, ids=lambda leaf: leaf.stem)
def test_it_reads_features_and_nothing_else_changes(leaf):
    cfg = Config.fromfile(leaf)
    before = cfg.pretty_text
    cached = with_teacher_cache(cfg, 'DIR')
    assert cfg.pretty_text == before
    steps, ours = cfg.train_dataloader.dataset.pipeline, cached.train_dataloader.dataset.pipeline
    assert [step for step in ours if step not in steps] == [
        dict(
            type='LoadTeacherFeatures',
            cache='DIR',
            data_root=cfg.train_dataloader.dataset.data_root,
            size_hw=cfg.model.teacher.image_size_hw,
        )
    ]
    assert cached.model.teacher == dict(type='CachedTeacher', teacher=cfg.model.teacher, cache='DIR')
    assert without_teacher_cache(cached).pretty_text == before == without_teacher_cache(cfg).pretty_text


def test_a_config_without_teacher_or_with_a_cache_is_refused():
    for leaf in ('segmentation/lp_minkunet34_100_nuscenes', 'demo/teacher_vit_simulated'):
        for change in (without_teacher_cache, lambda cfg: with_teacher_cache(cfg, 'DIR')):
            with pytest.raises(InputError, match='configs/pretrain'):
                change(Config.fromfile(REPO / 'configs' / f'{leaf}.py'))
    cached = with_teacher_cache(Config.fromfile(LEAVES[0]), 'DIR')
    with pytest.raises(InputError, match='0 steps LoadCameraImages'):
        with_teacher_cache(cached, 'DIR')
