"""The training command: what it leaves, what a kill does to it, what it says to bad input."""

import json
import shutil
import signal
import time
from pathlib import Path

import mmdet3d
import pytest
import torch
from safetensors import safe_open

from cleverdistiller.fileio import read_checkpoint
from conftest import write_frames
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
    assert 'resumed epoch: ' in max(tmp_path.glob('*/*.log')).read_text()
    expected = read_checkpoint(finished / 'student.pth')['state_dict']
    found = read_checkpoint(tmp_path / 'student.pth')['state_dict']
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_bad_sweep_is_named_and_costs_no_checkpoint(tmp_path, finished, capsys):
    frames = write_frames(tmp_path / 'frames', 4).parent
    config = write_config(tmp_path, frames, epochs=4)
    shutil.copytree(finished, tmp_path / 'work')
    before = (tmp_path / 'work' / 'epoch_3.pth').read_bytes()
    with open(frames / '2.bin', 'r+b') as file:
        file.truncate(1001)
    last = refused(capsys, config, tmp_path / 'work', '--resume')
    assert '2.bin' in last and 'remedy' in last and 'Traceback' not in last
    assert (tmp_path / 'work' / 'epoch_3.pth').read_bytes() == before


def test_an_unsafe_checkpoint_is_refused_before_it_is_opened(tmp_path, config, capsys):
    torch.save(dict(state_dict=Path('x')), tmp_path / 'theirs.pth')
    assert 'theirs.pth' in refused(capsys, config, tmp_path / 'work', '--resume', str(tmp_path / 'theirs.pth'))


def test_frames_that_no_camera_sees_are_counted_and_skipped(tmp_path, frames_dir):
    config = write_config(tmp_path, frames_dir, epochs=1)
    train(config, tmp_path / 'work', '--cfg-options', 'train_dataloader.dataset.pipeline.2.min_depth_m=1000')
    assert all(
        row['loss_distill'] == 0 and row['empty_views'] == 4 and row['loss_occupancy'] > 0
        for row in scalars(tmp_path / 'work')
    )
