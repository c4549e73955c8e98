"""The stand-in teacher's training, from images to a file that TimmViTTeacher takes."""

import json

import pytest
import torch
from mmdet3d.registry import MODELS

from cleverdistiller.fileio import read_metadata, read_state_dict
from conftest import REPO
from masked_images import write_masked_images
from runs import train

CONFIG = REPO / 'configs' / 'demo' / 'teacher_vit_simulated.py'
SMALL = (
    'model.image_size_hw=(28,56)',
    'model.arch.depth=1',
    'model.num_classes=3',
    'train_dataloader.dataset.pipeline.0.size_hw=(28,56)',
    'val_dataloader.dataset.pipeline.0.size_hw=(28,56)',
    'train_dataloader.dataset.val_scenes=1',
    'val_dataloader.dataset.val_scenes=1',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'train_cfg.max_epochs=6',
    'train_cfg.val_interval=6',
)


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """Folder of a demo with its images; the config finds it through the environment."""
    write_masked_images(tmp_path / 'data' / 'images')
    (tmp_path / 'data' / 'images' / 'simulation.json').write_text('{}')
    monkeypatch.setenv('DEMO', str(tmp_path))
    return tmp_path


def test_a_teacher_is_trained_told_about_and_taken(demo):
    train(CONFIG, demo / 'teacher', '--cfg-options', *SMALL, 'randomness.seed=3')
    results = json.loads((demo / 'teacher' / 'val_results.json').read_text())
    assert results['seg/accuracy'] == 1.0 and results['made_from']['simulated'] and results['made_from']['seed'] == 3
    file = demo / 'teacher' / 'teacher.safetensors'
    told = read_metadata(file)
    assert (told['stand_in'], told['simulated'], told['seed'], told['images']) == ('true', 'true', '3', '4')
    assert told['trained_on'] == f'{demo}/data/images/'
    teacher = MODELS.build(dict(json.loads(told['teacher']), weights=str(file)))
    assert not any(name.startswith('classifier') for name in read_state_dict(file))
    with torch.no_grad():
        assert teacher(torch.rand(1, 3, 28, 56)).shape == (1, 192, 2, 4)


def test_a_stopped_training_goes_on_and_ends_the_same(demo):
    options = ('--cfg-options', *SMALL)
    train(CONFIG, demo / 'whole', *options)
    train(CONFIG, demo / 'cut', *options)
    for name in ('epoch_6.pth', 'teacher.safetensors'):
        (demo / 'cut' / name).unlink()
    train(CONFIG, demo / 'cut', '--resume', *options)
    whole, cut = (read_state_dict(demo / name / 'teacher.safetensors') for name in ('whole', 'cut'))
    assert all(torch.equal(cut[name], tensor) for name, tensor in whole.items())
