"""Every config builds and, at reduced size, steps on a CPU."""

from pathlib import Path

import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS, PARAM_SCHEDULERS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper

from conftest import REPO, small_dataset, small_pipeline

LEAVES = sorted((REPO / 'configs').glob('[!_]*/*.py'))
NUSCENES = [leaf for leaf in LEAVES if leaf.name.endswith('_nuscenes.py')]
WIDTHS = dict(vits=384, vitb=768, vitl=1024)


def name_of(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize('leaf', LEAVES, ids=name_of)
def test_a_leaf_has_at_most_25_lines_of_config(leaf):
    lines = [line for line in leaf.read_text().splitlines() if line.strip() and not line.startswith('#')]
    assert len(lines) <= 25


def test_all_method_teacher_and_epoch_combinations_are_there():
    expected = {
        f'{method}_minkunet34_{teacher}_{epochs}e_nuscenes'
        for method in ('cleverdistiller', 'scalr')
        for teacher in WIDTHS
        for epochs in (50, 100)
    }
    assert {leaf.stem for leaf in NUSCENES} == expected


@pytest.mark.parametrize('leaf', NUSCENES, ids=name_of)
def test_says_what_its_name_says(leaf):
    cfg = Config.fromfile(leaf)
    method, _, teacher, epochs, _ = leaf.stem.split('_')
    assert f'{cfg.train_cfg.max_epochs}e' == epochs
    assert dict(vits='small', vitb='base', vitl='large')[teacher] in cfg.model.teacher.name
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    if method == 'scalr':
        assert cfg.model.projection_head == dict(type='LinearHead') and cfg.model.occupancy_head is None
    else:
        assert cfg.model.projection_head.type == 'MLPHead' and cfg.model.occupancy_head.weight == 0.05
    assert ('SampleOccupancyQueries' in steps) == (method == 'cleverdistiller')
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=0.001, weight_decay=0.005)
    assert cfg.model.data_preprocessor.mix3d_prob == 0.8


@pytest.mark.parametrize(
    'leaf', [leaf for leaf in NUSCENES if '_50e_' in leaf.name and 'vitl' not in leaf.name], ids=name_of
)
def test_steps_on_a_cpu_at_reduced_size(leaf, frames_dir):
    cfg = Config.fromfile(leaf)
    cfg.model.teacher.update(weights='random', image_size_hw=(28, 56))
    cfg.model.student.update(depth=14, width=16)
    cfg.model.data_preprocessor.voxel_size_m = 0.2
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    pipeline = [step for step in small_pipeline() if step['type'] in steps]
    pipeline[1]['size_hw'] = (28, 56)
    dataset = DATASETS.build(small_dataset(frames_dir, pipeline=pipeline))
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer))
    schedule = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler, optimizer=wrapper, end=10))
    losses = model.train_step(pseudo_collate([dataset[0], dataset[1]]), wrapper)
    schedule.step()
    assert torch.isfinite(losses['loss']) and losses['loss_distill'] > 0
