"""Probing, fine-tuning, testing and drawing as a user starts them, on a few made-up scans."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from cleverdistiller.fileio import read_checkpoint
from cleverdistiller.models.students import MinkUNetStudent
from conftest import REPO
from labelled_scans import write_labelled_scans
from runs import run_script, train

pytestmark = pytest.mark.needs_sparse_conv

TEST, VISUALIZE = REPO / 'tools' / 'test.py', REPO / 'tools' / 'visualize.py'


@pytest.fixture(scope='module')
def student(tmp_path_factory) -> Path:
    """An exported student."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('student') / 'student.pth'
    torch.save(dict(state_dict=MinkUNetStudent(depth=14, width=16, variant='mmdet3d').state_dict()), path)
    return path


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Path:
    """The demo's linear probe over four scans, all of which are for training, two for testing."""
    root = tmp_path_factory.mktemp('scans')
    cfg = Config.fromfile(REPO / 'configs/demo/lp_minkunet14_100_semantickitti_simulated.py')
    write_labelled_scans(root, dict(cfg.val_dataloader.dataset), count=2)
    write_labelled_scans(root, dict(cfg.train_dataloader.dataset), count=4)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = str(root)
        loader.update(num_workers=0, persistent_workers=False)
    cfg.model.data_preprocessor.voxel_size_m = 0.5
    cfg.model.backbone.variant = 'mmdet3d'  # its BatchNorm settles within a few steps
    cfg.train_cfg.update(max_epochs=3, val_interval=3)
    cfg.dump(root / 'config.py')
    return root / 'config.py'


@pytest.fixture(scope='module')
def probed(tmp_path_factory, config, student) -> Path:
    """The work dir of a linear probe."""
    work_dir = tmp_path_factory.mktemp('probed')
    train(config, work_dir, '--cfg-options', f'model.student_weights={student}')
    return work_dir


def test_probing_keeps_the_backbone_and_writes_its_scores(probed, student):
    trained = read_checkpoint(probed / 'epoch_3.pth')['state_dict']
    exported = read_checkpoint(student)['state_dict']
    assert all(torch.equal(trained[f'backbone.{name}'], value) for name, value in exported.items())
    results = json.loads((probed / 'val_results.json').read_text())
    assert 0 < results['seg/miou'] <= 1 and results['made_from']['student_weights'] == str(student)
    made_from = results['made_from']
    assert made_from['epoch'] == 3 and made_from['frozen'] is True
    assert made_from['scored']['frames'] == 2 and made_from['scored']['dataset'] == 'SemanticKittiSegmentation'


def test_testing_repeats_the_validation_and_needs_no_student_file(probed, config, tmp_path):
    run_script(TEST, config, probed / 'epoch_3.pth', '--work-dir', tmp_path)
    expected = json.loads((probed / 'val_results.json').read_text())
    found = json.loads((tmp_path / 'test_results.json').read_text())
    assert found.pop('made_from')['checkpoint'] == str(probed / 'epoch_3.pth')
    expected.pop('made_from')
    assert found == expected


def test_augmented_testing_is_the_mean_of_ten_views_and_reported_apart(probed, config, tmp_path):
    run_script(TEST, config, probed / 'epoch_3.pth', '--work-dir', tmp_path, '--tta')
    assert not (tmp_path / 'test_results.json').exists()
    assert 0 < json.loads((tmp_path / 'test_tta_results.json').read_text())['seg/miou'] <= 1


def test_fine_tuning_learns_from_the_student_s_weights_on(config, student, tmp_path):
    options = (f'model.student_weights={student}', 'model.frozen=False', 'train_cfg.max_epochs=12')
    train(config, tmp_path, '--cfg-options', *options, 'train_cfg.val_interval=12', 'default_hooks.logger.interval=1')
    rows = map(json.loads, next(tmp_path.glob('*/vis_data/scalars.json')).read_text().splitlines())
    losses = [row['loss_ce'] for row in rows if 'loss_ce' in row]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])  # classes lie in layers
    trained, exported = (read_checkpoint(path)['state_dict'] for path in (tmp_path / 'epoch_12.pth', student))
    assert not torch.equal(trained['backbone.stem.0.weight'], exported['stem.0.weight'])


def refused(capsys, script, *arguments) -> str:
    with pytest.raises(SystemExit) as left:
        run_script(script, *arguments)
    assert left.value.code == 2
    return capsys.readouterr().err.rpartition('error: ')[2]


def test_without_a_student_the_run_asks_for_one(config, tmp_path, capsys):
    said = refused(capsys, REPO / 'tools' / 'train.py', config, '--work-dir', tmp_path)
    assert 'model.student_weights=FILE' in said and not list(tmp_path.glob('*.pth'))


def test_a_wrong_number_of_classes_stops_before_training(config, student, tmp_path):
    options = (f'model.student_weights={student}', 'model.num_classes=18')
    with pytest.raises(AssertionError, match='num_classes'):
        train(config, tmp_path, '--cfg-options', *options)


def test_a_checkpoint_of_another_model_is_not_scored(config, student, tmp_path, capsys):
    said = refused(capsys, TEST, config, student, '--work-dir', tmp_path)
    assert "without the prefix 'backbone.'" in said and 'model.student_weights' in said
    assert not (tmp_path / 'test_results.json').exists()


def test_a_label_file_that_is_too_short_is_named(probed, config, tmp_path, capsys):
    cfg = Config.fromfile(config)
    write_labelled_scans(tmp_path, dict(cfg.test_dataloader.dataset), count=2)
    with open(tmp_path / '00/labels/1.label', 'r+b') as file:
        file.truncate(400)
    options = ('--cfg-options', f'test_dataloader.dataset.data_root={tmp_path}')
    said = refused(capsys, TEST, config, probed / 'epoch_3.pth', '--work-dir', tmp_path / 'work', *options)
    assert '00/labels/1.label' in said and '100 labels' in said


@pytest.mark.parametrize('command', ['errors', 'predictions'])
def test_chosen_frames_are_drawn(probed, config, tmp_path, capsys, command):
    out = tmp_path / 'frames.png'
    run_script(VISUALIZE, command, config, probed / 'epoch_3.pth', '--index', 1, 0, '--out', out)
    said = capsys.readouterr().out
    assert said.index('semantickitti  00/1') < said.index('semantickitti  00/0') and 'mIoU' in said
    assert np.array(Image.open(out)).std() > 0


@pytest.mark.parametrize('option', [('--index', 2), ('--reach', 0)])
def test_what_cannot_be_drawn_is_refused(probed, config, tmp_path, capsys, option):
    out = tmp_path / 'frames.png'
    assert option[0] in refused(capsys, VISUALIZE, 'errors', config, probed / 'epoch_3.pth', *option, '--out', out)
    assert not out.exists()
