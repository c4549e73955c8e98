"""The training command: what it leaves, what a kill does to it, what it says to bad input."""

import json
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import mmdet3d
import mmengine
import pytest
import torch
from safetensors import safe_open

from cleverdistiller.fileio import read_checkpoint
from conftest import CAMERAS, write_frames
from runs import start_training, train, write_config

pytestmark = pytest.mark.needs_sparse_conv


@pytest.fixture(scope='module')
def config(tmp_path_factory, frames_dir) -> Path:
    return write_config(tmp_path_factory.mktemp('config'), frames_dir)


@pytest.fixture(scope='module')
def finished(tmp_path_factory, config) -> Path:
    """The work dir of an uninterrupted run."""
    work_dir = tmp_path_factory.mktemp('whole')
    train(config, work_dir)
    return work_dir


def scalars(work_dir: Path) -> list[dict]:
    lines = next(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines()
    return [row for row in map(json.loads, lines) if 'loss' in row]


def without_timing(work_dir: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in ('time', 'data_time', 'memory')} for row in scalars(work_dir)]


def refused(capsys, *arguments) -> str:
    """What a training that must fail says last."""
    with pytest.raises(SystemExit) as left:
        train(*arguments)
    assert left.value.code == 2
    return capsys.readouterr().err.rpartition('error: ')[2]


def test_prints_rankme_and_an_eta(finished):
    log = next(finished.glob('*/*.log')).read_text()
    assert 'rank/rankme:' in log and 'eta:' in log
    assert list(finished.glob('*/vis_data/events.out.tfevents*'))  # TensorBoard


def test_exports_the_student_alone_in_both_formats(finished):
    exported = read_checkpoint(finished / 'student.pth')  # weights_only=True
    names = exported['state_dict'].keys()
    assert not [name for name in names if 'teacher' in name or 'head' in name]
    assert json.loads(exported['meta']['student'])['depth'] == 14
    with safe_open(finished / 'student.safetensors', 'pt') as file:
        assert file.metadata() == exported['meta']
        assert all(torch.equal(file.get_tensor(name), exported['state_dict'][name]) for name in names)


def test_training_checkpoints_hold_no_teacher_and_no_code(finished):
    state = read_checkpoint(finished / 'epoch_3.pth')['state_dict']
    assert {name.split('.')[0] for name in state} == {'student', 'projection_head', 'occupancy_head'}


def test_mmdet3d_s_own_script_gives_the_same_losses(tmp_path, config, finished):
    train(config, tmp_path, script=Path(mmdet3d.__file__).parent / '.mim' / 'tools' / 'train.py')
    assert without_timing(tmp_path) == without_timing(finished)


def test_a_killed_run_resumes_to_the_same_student_bit_for_bit(tmp_path, config, finished):
    process = start_training(config, tmp_path)
    while not (tmp_path / 'epoch_1.pth').exists():
        assert process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / 'student.pth').exists()
    # Without workers this time: they must not matter.
    options = ('train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False')
    train(config, tmp_path, '--resume', '--cfg-options', *options)
    log = max(tmp_path.glob('*/*.log')).read_text()
    assert 'resumed epoch: ' in log and '--resume: ' not in log  # nothing has changed, and nothing is said
    expected = read_checkpoint(finished / 'student.pth')['state_dict']
    found = read_checkpoint(tmp_path / 'student.pth')['state_dict']
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture
def interrupted(tmp_path, finished) -> Path:
    """The work dir of a run that ended in its last epoch."""
    (tmp_path / 'work').mkdir()
    shutil.copy(finished / 'epoch_2.pth', tmp_path / 'work')
    return tmp_path / 'work'


def test_a_bad_sweep_is_named_and_costs_no_checkpoint(tmp_path, interrupted, capsys):
    frames = write_frames(tmp_path / 'frames', 4).parent
    config = write_config(tmp_path, frames)
    before = (interrupted / 'epoch_2.pth').read_bytes()
    for sweep in frames.glob('*.bin'):
        with open(sweep, 'r+b') as file:
            file.truncate(1001)
    last = refused(capsys, config, interrupted, '--resume')
    assert '.bin' in last and 'remedy' in last and 'Traceback' not in last
    assert (interrupted / 'epoch_2.pth').read_bytes() == before


@pytest.mark.parametrize(
    ('option', 'told'),
    [
        ('train_dataloader.batch_size=1', 'iterations an epoch was 2, is 4'),
        ('train_dataloader.dataset.num_frames=2', 'frames of the training set was 4, is 2'),
        ('train_cfg.max_epochs=4', 'train_cfg.max_epochs was 3, is 4'),
        ('param_scheduler.pct_start=0.3', 'param_scheduler.pct_start was absent, is 0.3'),
        ('optim_wrapper.optimizer.lr=0.1', 'optim_wrapper.optimizer.lr was 0.001, is 0.1'),
        ('randomness.seed=1', 'randomness.seed was 0, is 1'),
        ('model.student.width=32', 'of another shape'),
    ],
)
def test_resuming_with_another_schedule_is_refused(config, interrupted, capsys, option, told):
    before = sorted(path.name for path in interrupted.glob('*.pth'))
    last = refused(capsys, config, interrupted, '--resume', '--cfg-options', option)
    assert told in last and 'remedy' in last
    assert sorted(path.name for path in interrupted.glob('*.pth')) == before


def test_resuming_with_another_experiment_names_each_change_in_one_warning(config, interrupted):
    changes = {
        'model.teacher.features': 'post_norm',
        'model.occupancy_head.weight': 0.2,
        'model.data_preprocessor.mix3d_prob': 0.1,
        'train_dataloader.dataset.pipeline.4.flip_prob': 0.0,
    }
    options = [f'{name}={value}' for name, value in changes.items()]
    train(config, interrupted, '--resume', '--cfg-options', *options, 'train_dataloader.num_workers=2')
    log = next(interrupted.glob('*/*.log')).read_text()
    [warning] = [line for line in log.splitlines() if '--resume: ' in line]
    assert '--resume: 4 settings' in warning and 'num_workers' not in warning
    assert all(warning.count(f'{name} was') == 1 and f'is {value}' in warning for name, value in changes.items())
    assert (interrupted / 'student.pth').is_file()


def test_an_unsafe_checkpoint_is_refused_before_it_is_opened(tmp_path, config, capsys):
    torch.save(dict(state_dict=Path('x')), tmp_path / 'theirs.pth')
    assert 'theirs.pth' in refused(capsys, config, tmp_path / 'work', '--resume', str(tmp_path / 'theirs.pth'))


def blinded(folder: Path, frames: Sequence[int]) -> Path:
    """Frames of which some lie behind all cameras; half a kilometre ahead there is nothing to see."""
    path = write_frames(folder, 4)
    infos = mmengine.load(path)
    for frame in frames:
        for camera in infos['data_list'][frame]['images'].values():
            camera['lidar2cam'][2][3] = -500.0
    mmengine.dump(infos, path)
    return folder


def test_frames_that_no_camera_sees_are_counted_and_skipped(tmp_path):
    config = write_config(tmp_path, blinded(tmp_path / 'frames', frames=[0, 1]), epochs=1)
    in_order = ('train_dataloader.batch_size=1', 'train_dataloader.sampler.shuffle=False')
    train(config, tmp_path / 'work', '--cfg-options', *in_order)
    rows = scalars(tmp_path / 'work')
    assert [row['loss_distill'] == 0 for row in rows] == [True, True, False, False]
    assert [row['empty_views'] for row in rows[:2]] == [2, 2] and all(row['loss_occupancy'] > 0 for row in rows)


def test_a_training_that_no_camera_sees_stops_and_exports_nothing(tmp_path, capsys):
    config = write_config(tmp_path, blinded(tmp_path / 'frames', frames=range(4)), epochs=3)
    last = refused(capsys, config, tmp_path / 'work')
    assert all(camera in last for camera in CAMERAS) and 'tools/visualize.py pairs' in last
    assert not [*(tmp_path / 'work').glob('*.pth'), *(tmp_path / 'work').glob('*.safetensors')]
