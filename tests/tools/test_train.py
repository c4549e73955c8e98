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
from runs import finish, train, write_config


@pytest.fixture(scope='module')
def config(tmp_path_factory, frames_dir) -> Path:
    return write_config(tmp_path_factory.mktemp('config'), frames_dir)


@pytest.fixture(scope='module')
def finished(tmp_path_factory, config) -> tuple[Path, str]:
    """An uninterrupted run: its work dir and what it printed."""
    work_dir = tmp_path_factory.mktemp('whole')
    return work_dir, finish(train(config, work_dir))


def scalars(work_dir: Path) -> list[dict]:
    lines = next(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines()
    return [row for row in map(json.loads, lines) if 'loss' in row]


def test_prints_rankme_and_an_eta(finished):
    assert 'rank/rankme:' in finished[1] and 'eta:' in finished[1]
    assert list(finished[0].glob('*/vis_data/events.out.tfevents*'))  # TensorBoard


def test_exports_the_student_alone_in_both_formats(finished):
    work_dir, _ = finished
    exported = read_checkpoint(work_dir / 'student.pth')  # weights_only=True
    names = exported['state_dict'].keys()
    assert not [name for name in names if 'teacher' in name or 'head' in name]
    assert json.loads(exported['meta']['student'])['depth'] == 14
    with safe_open(work_dir / 'student.safetensors', 'pt') as file:
        assert file.metadata() == exported['meta']
        assert all(torch.equal(file.get_tensor(name), exported['state_dict'][name]) for name in names)


def test_training_checkpoints_hold_no_teacher_and_no_code(finished):
    state = read_checkpoint(finished[0] / 'epoch_3.pth')['state_dict']
    assert {name.split('.')[0] for name in state} == {'student', 'projection_head', 'occupancy_head'}


def test_mmdet3d_s_own_script_gives_the_same_losses(tmp_path, config, finished):
    script = Path(mmdet3d.__file__).parent / '.mim' / 'tools' / 'train.py'
    finish(train(config, tmp_path, script=script))
    timing = ('time', 'data_time', 'memory')
    ours, theirs = (
        [{k: v for k, v in row.items() if k not in timing} for row in scalars(folder)]
        for folder in (finished[0], tmp_path)
    )
    assert ours == theirs


@pytest.mark.parametrize('workers', [0, 1])
def test_a_killed_run_resumes_to_the_same_student_bit_for_bit(tmp_path, config, finished, workers):
    options = (
        '--cfg-options',
        f'train_dataloader.num_workers={workers}',
        f'train_dataloader.persistent_workers={bool(workers)}',
    )
    process = train(config, tmp_path, *options)
    while not (tmp_path / 'epoch_1.pth').exists():
        assert process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / 'student.pth').exists()
    output = finish(train(config, tmp_path, '--resume', *options))
    assert 'resumed epoch' in output
    expected = read_checkpoint(finished[0] / 'student.pth')['state_dict']
    found = read_checkpoint(tmp_path / 'student.pth')['state_dict']
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_bad_sweep_is_named_and_costs_no_checkpoint(tmp_path, config):
    frames = write_frames(tmp_path / 'frames', 4).parent
    broken = write_config(tmp_path, frames)
    work_dir = tmp_path / 'work'
    finish(train(broken, work_dir, '--cfg-options', 'train_cfg.max_epochs=1'))
    before = (work_dir / 'epoch_1.pth').read_bytes()
    with open(frames / '2.bin', 'r+b') as file:
        file.truncate(1001)
    process = train(broken, work_dir, '--resume')
    output, _ = process.communicate(timeout=300)
    last = output.rpartition('error: ')[2]
    assert process.returncode == 2 and '2.bin' in last and 'remedy' in last and 'Traceback' not in last
    assert (work_dir / 'epoch_1.pth').read_bytes() == before


def test_an_unsafe_checkpoint_is_refused_before_it_is_opened(tmp_path, config):
    torch.save(dict(state_dict=Path('x')), tmp_path / 'theirs.pth')
    process = train(config, tmp_path / 'work', '--resume', str(tmp_path / 'theirs.pth'))
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2 and 'theirs.pth' in output.rpartition('error: ')[2]


def test_frames_that_no_camera_sees_are_counted_and_skipped(tmp_path, frames_dir):
    frames = tmp_path / 'frames'
    shutil.copytree(frames_dir, frames)
    config = write_config(tmp_path, frames, epochs=1)
    options = ('--cfg-options', 'train_dataloader.dataset.pipeline.2.min_depth_m=1000')
    finish(train(config, tmp_path / 'work', *options))
    assert all(
        row['loss_distill'] == 0 and row['empty_views'] == 4 and row['loss_occupancy'] > 0
        for row in scalars(tmp_path / 'work')
    )
