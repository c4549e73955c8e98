"""A detector as a user makes one: prepared, trained on a list of frames from a student, tested, drawn."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from cleverdistiller.evaluation.detection_predictions import read_detections
from cleverdistiller.fileio import read_checkpoint
from cleverdistiller.models.students import MinkUNetStudent
from conftest import REPO
from kitti_root import ALL, write_kitti_root
from runs import run_script, train

pytestmark = pytest.mark.needs_sparse_conv

TOOLS = REPO / 'tools'
FRAMES = dict(train={f'{i:06}': ALL for i in range(4)}, val={f'{i:06}': ALL for i in range(4, 6)})


@pytest.fixture(scope='module')
def student(tmp_path_factory) -> Path:
    """An exported student."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('student') / 'student.pth'
    torch.save(dict(state_dict=MinkUNetStudent(depth=14, width=16, variant='mmdet3d').state_dict()), path)
    return path


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Path:
    """The demo's config over four frames, of which a list takes two."""
    root = write_kitti_root(tmp_path_factory.mktemp('kitti'), FRAMES)
    run_script(TOOLS / 'prepare_kitti.py', root)
    run_script(TOOLS / 'splits.py', root / 'kitti_infos_train.pkl', '--percent', '50', '--out', root)
    cfg = Config.fromfile(REPO / 'configs/demo/pointrcnn_minkunet14_50_kitti_simulated.py')
    cfg.train_dataloader.dataset.frame_list = str(root / 'uniform0_50.json')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = f'{root}/'
        loader.update(num_workers=0, persistent_workers=False)
        for step in loader.dataset.pipeline:
            if step.type == 'ObjectSample':
                step.db_sampler.update(data_root=f'{root}/', info_path=str(root / 'kitti_dbinfos_train.pkl'))
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = str(root / 'kitti_infos_val.pkl')
    cfg.train_cfg.update(max_epochs=2, val_interval=2)
    cfg.dump(root / 'config.py')
    return root / 'config.py'


@pytest.fixture(scope='module')
def trained(tmp_path_factory, config, student) -> Path:
    """The work dir of a frozen transfer, so that what arrived is still there."""
    work_dir = tmp_path_factory.mktemp('trained')
    options = (f'model.backbone.student_weights={student}', 'model.backbone.frozen=True')
    train(config, work_dir, '--cfg-options', *options)
    return work_dir


def test_the_whole_student_arrives_and_a_frozen_one_stays(trained, student):
    log = next(trained.glob('*/*.log')).read_text()
    assert '0 missing, 0 unexpected; 100.00% of the' in log and 'backbone unchanged, sha256' in log
    weights = read_checkpoint(trained / 'epoch_2.pth')['state_dict']
    exported = read_checkpoint(student)['state_dict']
    assert all(torch.equal(weights[f'backbone.student.{name}'], value) for name, value in exported.items())


def test_objects_are_pasted_from_the_listed_frames_alone(trained, config):
    listed = json.loads((config.parent / 'uniform0_50.json').read_text())['frames']
    log = next(trained.glob('*/*.log')).read_text()
    assert f'gt_db=split, {len(listed) * 3} of 12 objects' in log


def test_losses_are_finite_and_scores_land_in_a_file_with_their_origin(trained, student):
    lines = (trained / 'vis_data').glob('*.json') if (trained / 'vis_data').exists() else trained.rglob('scalars.json')
    losses = [row['loss'] for path in lines for row in map(json.loads, path.read_text().splitlines()) if 'loss' in row]
    assert losses and np.isfinite(losses).all()
    results = json.loads((trained / 'val_results.json').read_text())
    assert 0 <= results['kitti/mean/3d/AP_R40/moderate'] <= 1 and results['kitti/frames'] == 2
    made_from = results['made_from']
    assert made_from['student_weights'] == str(student) and made_from['frozen'] is True
    assert made_from['gt_db'] == 'split' and made_from['frame_list'].endswith('uniform0_50.json')


def test_testing_writes_detections_that_can_be_drawn(trained, config, tmp_path):
    found = tmp_path / 'found.npz'
    options = (f'test_evaluator.predictions_file={found}', 'model.test_cfg.rcnn.score_thr=0.0')
    run_script(TOOLS / 'test.py', config, trained / 'epoch_2.pth', '--work-dir', tmp_path, '--cfg-options', *options)
    assert json.loads((tmp_path / 'test_results.json').read_text())['kitti/frames'] == 2
    assert set(read_detections(found)) == {'000004', '000005'}
    run_script(TOOLS / 'visualize.py', 'detections', config, found, '--out', tmp_path / 'found.png')
    assert np.asarray(Image.open(tmp_path / 'found.png')).std() > 5


def test_the_test_split_s_own_scans_are_submitted(trained, config, tmp_path):
    cfg, server = Config.fromfile(config), REPO / 'configs/detection/submission_pointrcnn_minkunet34_kitti.py'
    submission = Config.fromfile(server)
    for key in ('ann_file', 'load_eval_anns', 'data_prefix'):
        cfg.test_dataloader.dataset[key] = submission.test_dataloader.dataset[key]
    infos = str(config.parent / 'kitti_infos_test.pkl')
    cfg.test_evaluator = dict(submission.test_evaluator, ann_file=infos, out_dir=str(tmp_path / 'results'))
    cfg.dump(tmp_path / 'config.py')
    shutil.rmtree(config.parent / 'training' / 'velodyne_reduced')  # numbers are those of training frames, too
    run_script(TOOLS / 'test.py', tmp_path / 'config.py', trained / 'epoch_2.pth', '--work-dir', tmp_path)
    assert [path.name for path in (tmp_path / 'results').glob('*.txt')] == ['000000.txt']
