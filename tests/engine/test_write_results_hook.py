import json
from pathlib import Path

import pytest
from small_segmentor import OneView, SmallSegmentor, make_runner

from cleverdistiller.engine.hooks import WriteResultsHook

TRAINING = dict(
    model=dict(student_weights='student.pth'),
    train_dataloader=dict(dataset=dict(ann_file='train.pkl', frame_list='uniform0_1.json')),
)
OTHER = dict(  # what a test's config may say, having been given neither
    model=dict(student_weights='required'), train_dataloader=dict(dataset=dict(ann_file='other.pkl'))
)


def read(path: Path) -> dict:
    def refuse(constant):
        raise AssertionError(f'{constant} is not JSON')

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.fixture(scope='module')
def finished(tmp_path_factory) -> Path:
    """Work dir of two epochs."""
    work_dir = tmp_path_factory.mktemp('work')
    make_runner(work_dir, SmallSegmentor(), WriteResultsHook(), TRAINING).train()
    return work_dir


def made_from(path: Path) -> dict:
    content = read(path)['made_from']
    assert content.pop('versions').keys() == {'cleverdistiller', 'mmdet3d', 'torch'}
    return content


def test_validation_leaves_numbers_and_their_origin(finished):
    content = read(finished / 'val_results.json')
    assert list(content) == [
        *('seg/miou', 'seg/accuracy', 'seg/mean_accuracy'),
        *('seg/iou/road', 'seg/iou/car', 'seg/iou/bus', 'made_from'),
    ]
    assert 0 <= content['seg/miou'] <= 1 and content['seg/iou/bus'] is None  # absent
    assert made_from(finished / 'val_results.json') == dict(
        config=None,
        checkpoint=None,
        epoch=2,
        seed=5,
        student_weights='student.pth',
        ann_file='train.pkl',
        frame_list='uniform0_1.json',
        scored=dict(dataset='Scans', ann_file=None, frame_list=None, frames=2),
    )


@pytest.mark.parametrize('simulated', [False, True])
def test_a_test_tells_how_the_checkpoint_was_trained(finished, tmp_path, simulated):
    if simulated:
        (tmp_path / 'simulation.json').touch()
    checkpoint = str(finished / 'epoch_1.pth')
    runner = make_runner(tmp_path, SmallSegmentor(), WriteResultsHook(), OTHER, load_from=checkpoint)
    metrics = runner.test()
    assert read(tmp_path / 'test_results.json')['seg/miou'] == metrics['seg/miou']
    found = made_from(tmp_path / 'test_results.json')
    assert found.pop('simulated', False) == simulated
    validated = made_from(finished / 'val_results.json')
    assert found == dict(validated, checkpoint=checkpoint, epoch=1)


def test_test_time_augmentation_is_written_apart(tmp_path):
    cfg = dict(model=dict(type='OneView', module=OTHER['model']))
    make_runner(tmp_path, OneView(SmallSegmentor()), WriteResultsHook(), cfg).test()
    assert not (tmp_path / 'test_results.json').exists()
    assert made_from(tmp_path / 'test_tta_results.json')['student_weights'] == 'required'


def test_a_resumed_run_names_what_it_resumed(finished, tmp_path):
    for name in ('epoch_1.pth', 'last_checkpoint'):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    make_runner(tmp_path, SmallSegmentor(), WriteResultsHook(), TRAINING, resume=True).train()
    found = made_from(tmp_path / 'val_results.json')
    assert found['checkpoint'] == str(tmp_path / 'epoch_1.pth') and found['epoch'] == 2


def test_a_validation_that_a_kill_came_before_is_made_up_for(finished, tmp_path):
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    (tmp_path / '.epoch_2.pth.7.tmp').touch()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    make_runner(tmp_path, SmallSegmentor(), WriteResultsHook(), TRAINING, resume=True).train()
    found, expected = (read(folder / 'val_results.json') for folder in (tmp_path, finished))
    assert found.pop('made_from') == dict(expected.pop('made_from'), checkpoint=str(tmp_path / 'epoch_2.pth'))
    assert found == expected
    assert not list(tmp_path.glob('.*.tmp'))  # each as large as a checkpoint
