"""What differs between two trainings is named once, under the name that ``--cfg-options`` takes."""

import pytest
from mmengine.config import Config

from cleverdistiller.engine.config_changes import changed_settings, read_settings

WAS = dict(
    model=dict(type='CleverDistiller', teacher=dict(type='ViT', weights='/old/vit.pth'), head=dict(weight=0.05)),
    train_dataloader=dict(
        batch_size=2,
        num_workers=4,
        dataset=dict(data_root='/old', frame_list='/old/uniform0_10.json', pipeline=[dict(type='Load', size=(2, 3))]),
    ),
    train_cfg=dict(max_epochs=3, val_interval=1),
    optim_wrapper=dict(type='AmpOptimWrapper', loss_scale='dynamic', optimizer=dict(type='AdamW', lr=1e-3)),
    randomness=dict(seed=0),
    work_dir='/old/work',
)


def changes(**options) -> dict:
    now = Config(WAS)
    now.merge_from_dict(options)
    return changed_settings(read_settings(Config(WAS).pretty_text), read_settings(now.pretty_text))


@pytest.mark.parametrize(
    ('name', 'was', 'now'),
    [
        ('model.teacher.type', 'ViT', 'CachedTeacher'),
        ('model.teacher.weights', '/old/vit.pth', '/old/vit_large.pth'),
        ('model.head.weight', 0.05, 0.2),
        ('model.norm', 'absent', True),
        ('train_dataloader.batch_size', 2, 5),
        ('train_dataloader.dataset.frame_list', '/old/uniform0_10.json', '/old/uniform1_10.json'),
        ('train_dataloader.dataset.pipeline.0.size', [2, 3], [4, 3]),
        ('train_cfg.max_epochs', 3, 4),
        ('optim_wrapper.optimizer.lr', 0.001, 0.01),
        ('optim_wrapper.loss_scale', 'dynamic', None),
        ('randomness.seed', 0, 1),
    ],
)
def test_a_change_is_named_once(name, was, now):
    assert changes(**{name: now}) == {name: (was, now)}


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'train_dataloader.num_workers': 0},
        {'train_dataloader.dataset.data_root': '/new'},
        {'train_dataloader.dataset.frame_list': '/new/uniform0_10.json'},  # its content is compared elsewhere
        {'model.teacher.weights': 'vit.pth'},
        {'train_cfg.val_interval': 3},
        {'work_dir': '/new'},
        {'optim_wrapper.optimizer.lr': 0.0010},
    ],
)
def test_paths_and_speed_are_silent(options):
    assert changes(**options) == {}


def test_another_type_does_not_hide_what_both_have():
    found = changes(**{'optim_wrapper.type': 'OptimWrapper', 'optim_wrapper.optimizer.lr': 1.0})
    assert list(found) == ['optim_wrapper.type', 'optim_wrapper.optimizer.lr']


def test_another_pipeline_is_named_by_its_steps():
    found = changes(**{'train_dataloader.dataset.pipeline': [dict(type='Load', size=(2, 3)), dict(type='Flip')]})
    assert found == {'train_dataloader.dataset.pipeline': (['Load'], ['Load', 'Flip'])}


def test_reads_a_text_as_mmengine_does_without_running_it():
    inner = {'a-b': 2.5, 'c d': None}  # no names for arguments of dict()
    text = Config(dict(a=dict(b=(1, 'x'), c=[dict(d=None)], inner=inner), e=float('inf'), f=-1)).pretty_text
    assert read_settings(text) == dict(a=dict(b=[1, 'x'], c=[dict(d=None)], inner=inner), e='inf', f=-1)
    assert read_settings("a = __import__('os').abort()") == dict(a="__import__('os').abort()")
