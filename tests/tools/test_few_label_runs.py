"""Many draws of few labels: what is run, what is skipped, what is told."""

import contextlib
import json
import subprocess
import sys
import traceback
from pathlib import Path
from statistics import stdev

import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.visualization import Visualizer
from torch import nn

from cleverdistiller.datasets.frame_list import FrameList, fingerprint
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import read_state_dict
from cleverdistiller.models.students import MinkUNetStudent
from conftest import REPO
from labelled_scans import write_labelled_scans
from runs import run_script

sys.path.append(str(REPO / 'tools'))
import _transfer_runs

TOOL = REPO / 'tools' / 'few_label_runs.py'
IDS = [f'00/{frame}' for frame in range(4)]


def write_list(path: Path, frames: list[str], percent: str = '50', ids: list[str] = IDS) -> Path:
    of = dict(of=len(ids), fingerprint=fingerprint(ids))
    FrameList('semantickitti', 'uniform', 0, percent, frames=tuple(frames), **of).write(path)
    return path


@pytest.fixture(scope='module')
def made(tmp_path_factory) -> Path:
    """A folder with a config of two epochs, two lists of half of four scans, and a student."""
    root = tmp_path_factory.mktemp('few_labels')
    cfg = Config.fromfile(REPO / 'configs/demo/ft_minkunet14_50_semantickitti_simulated.py')
    write_labelled_scans(root, dict(cfg.val_dataloader.dataset), count=2)
    write_labelled_scans(root, dict(cfg.train_dataloader.dataset), count=4)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = str(root)
        loader.update(num_workers=0, persistent_workers=False)
    cfg.model.data_preprocessor.voxel_size_m = 0.5
    cfg.model.backbone.variant = 'mmdet3d'
    cfg.train_cfg.update(max_epochs=2, val_interval=2)
    cfg.dump(root / 'config.py')
    write_list(root / 'first.json', IDS[:2])
    write_list(root / 'second.json', IDS[2:])
    torch.manual_seed(0)
    student = MinkUNetStudent(depth=14, width=16, variant='mmdet3d')
    torch.save(dict(state_dict=student.state_dict()), root / 'student.pth')
    return root


def run_here(command: list[str], log: Path, watch, lock) -> int:
    """Stands for a process: importing takes longer than these trainings."""
    assert command[0] == sys.executable and lock.fileno()
    Visualizer._instance_dict.clear()
    with open(log, 'a') as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            run_script(Path(command[1]), *command[2:])
        except SystemExit as left:
            return left.code
        except Exception:
            traceback.print_exc()
            return 1
    watch()
    return 0


def pretend(command: list[str], log: Path, watch, lock) -> int:
    """Leave behind what a training or a test does; a test's number is told by the run's name."""
    work_dir = Path(command[command.index('--work-dir') + 1])
    if 'strange' in work_dir.name:
        log.write_text('Epoch 1\nerror: got: a strange list\n  remedy: none')
        return 2
    if command[1].endswith('train.py'):
        work_dir.mkdir()
        (work_dir / 'epoch_2.pth').touch()
    else:
        assert command[3] == str(work_dir / 'epoch_2.pth')
        number = 0.1 * ('second' in work_dir.name) + 0.3 * ('student' in work_dir.name)
        made_from = dict(simulated=True) if 'first' in work_dir.name else {}
        results = {'seg/miou': number, 'seg/iou/car': None, 'made_from': made_from}
        (work_dir / 'test_results.json').write_text(json.dumps(results))
    watch()
    return 0


@pytest.fixture
def started(monkeypatch) -> list[list[str]]:
    """Commands that were started, and only seem to have run."""
    commands = []
    monkeypatch.setattr(
        _transfer_runs, 'run_process', lambda command, *others: commands.append(command) or pretend(command, *others)
    )
    return commands


def run_tool(made: Path, work_dir: Path, *options, lists=('first.json', 'second.json')) -> None:
    paths = [name if name == 'all' else made / name for name in lists]
    run_script(TOOL, made / 'config.py', '--splits', *paths, '--work-dir', work_dir, *options)


def numbers_of(path: Path) -> tuple[dict, dict]:
    found = json.loads(path.read_text())
    return found, found.pop('made_from')


@pytest.mark.needs_sparse_conv
def test_a_run_is_trained_and_tested_and_an_interrupted_one_ends_as_if_it_had_not_been(made, tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(
        _transfer_runs, 'run_process', lambda command, *others: commands.append(command) or run_here(command, *others)
    )
    run = tmp_path / 'student_second_seed3'
    options = ('--checkpoint', made / 'student.pth', '--seeds', 3)
    run_tool(made, tmp_path, *options, lists=('second.json',))
    assert [Path(command[1]).name for command in commands] == ['train.py', 'test.py']
    found, made_from = numbers_of(run / 'test_results.json')
    assert made_from['student_weights'] == str(made / 'student.pth')
    assert made_from['frame_list'] == str(made / 'second.json')
    assert (made_from['seed'], made_from['epoch']) == (3, 2)
    summary, _ = numbers_of(tmp_path / 'few_label_runs.json')
    assert {name: summary[f'student/{name}/mean'] for name in found} == found
    trained = read_state_dict(run / 'epoch_2.pth')

    commands.clear()
    for name in ('test_results.json', 'epoch_2.pth'):
        (run / name).unlink()
    run_tool(made, tmp_path, *options, lists=('second.json',))
    assert [(Path(command[1]).name, '--resume' in command) for command in commands] == [
        ('train.py', True),
        ('test.py', False),
    ]
    resumed = read_state_dict(run / 'epoch_2.pth')
    assert all(torch.equal(value, resumed[name]) for name, value in trained.items())
    assert numbers_of(tmp_path / 'few_label_runs.json')[0] == summary


@pytest.mark.needs_sparse_conv
def test_the_table_has_mean_and_deviation_of_both_starts_and_nothing_is_done_twice(made, tmp_path, started, capsys):
    options = ('--checkpoint', made / 'student.pth', '--against-random', '--seeds', 0, 1)
    run_tool(made, tmp_path, *options)
    assert len(started) == 16
    said = capsys.readouterr().out
    summary, made_from = numbers_of(tmp_path / 'few_label_runs.json')
    for method, mean in (('student', 0.35), ('random', 0.05)):
        assert summary[f'{method}/seg/miou/mean'] == pytest.approx(mean) and summary[f'{method}/seg/miou/n'] == 4
        assert summary[f'{method}/seg/miou/std'] == pytest.approx(stdev([0, 0, 0.1, 0.1]))
    assert '| n = 4 | student | random |' in said and '| seg/miou | 0.3500 ± 0.0577 | 0.0500 ± 0.0577 |' in said
    assert 'seg/iou/car' not in said and 'SIMULATED' in said and 'over 2 lists x 2 seeds' in said
    assert made_from['simulated'] is True and made_from['failures'] == {}
    assert [len(paths) for paths in made_from['runs'].values()] == [4, 4]

    started.clear()
    (tmp_path / 'random_first_seed1' / 'test_results.json').unlink()
    run_tool(made, tmp_path, *options, '--metrics', 'seg/m*')
    assert [(Path(command[1]).name, Path(command[2]).stem) for command in started] == [
        ('test.py', 'random_first_seed1')
    ]
    assert '| seg/miou |' in capsys.readouterr().out
    assert numbers_of(tmp_path / 'few_label_runs.json')[0] == summary
    with pytest.raises(SystemExit):
        run_tool(made, tmp_path, *options, '--metrics', 'mean/3d/*')
    assert 'patterns of seg/miou' in capsys.readouterr().err


@pytest.mark.needs_sparse_conv
def test_a_failed_run_is_told_and_does_not_stop_the_others(made, tmp_path, started, capsys):
    write_list(made / 'strange.json', ['00/8'])
    with pytest.raises(SystemExit, match='1 of 2 runs failed'):
        run_tool(made, tmp_path, '--against-random', lists=('strange.json', 'second.json'))
    said = capsys.readouterr().out
    assert 'failed: random_strange_seed0 (training ended with status 2: error: got: a strange list; see ' in said
    assert '| seg/miou | 0.1000 (n=1) |' in said
    summary, made_from = numbers_of(tmp_path / 'few_label_runs.json')
    assert summary['random/seg/miou/std'] is None and list(made_from['failures']) == ['random_strange_seed0']
    assert made_from['runs'] == dict(random=[str(tmp_path / 'random_second_seed0' / 'test_results.json')])


@pytest.mark.needs_sparse_conv
def test_each_run_s_config_says_what_it_is(made, tmp_path, started):
    run_tool(made, tmp_path, '--against-random', '--seeds', 1, '--cfg-options', 'model.num_classes=18', lists=('all',))
    cfg = Config.fromfile(tmp_path / 'random_all_seed1.py')
    assert cfg.train_dataloader.dataset.frame_list is None and cfg.randomness.seed == 1
    assert cfg.model.student_weights is None and cfg.model.num_classes == 18


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as left:
        run_tool(*arguments)
    said = capsys.readouterr().err
    assert left.value.code == 2 and 'remedy' in said and 'Traceback' not in said
    return said


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize(
    'options, said',
    [
        ((), 'neither --checkpoint nor --against-random'),
        (('--checkpoint', 'none.pth'), 'none.pth, which is not a file'),
        (('--against-random', '--method', 'random'), '--method random'),
        (('--against-random', '--seeds', 3, 3), '4 runs with 2 names'),
        (('--against-random', '--cfg-options', 'test_evaluator=None'), 'config.py without test_evaluator'),
        (('--against-random', '--cfg-options', 'custom_hooks=None'), 'without WriteResultsHook'),
        (('--checkpoint', 'student.pth', '--cfg-options', 'model.type=PointRCNN'), 'whose model takes no student'),
    ],
    ids=lambda value: ' '.join(map(str, value)) if isinstance(value, tuple) else '',
)
def test_what_cannot_end_in_a_table_is_refused_before_anything_starts(
    made, tmp_path, started, capsys, monkeypatch, options, said
):
    monkeypatch.chdir(made)
    assert said in refused(capsys, made, tmp_path / 'runs', *options)
    assert not started and not (tmp_path / 'runs').exists()


@pytest.mark.needs_sparse_conv
def test_lists_that_are_missing_or_of_several_percentages_are_refused(made, tmp_path, started, capsys):
    write_list(made / 'quarter.json', IDS[:1], percent='25')
    for name, said in (('none.json', 'none.json, which is not a file'), ('quarter.json', 'lists of 25, 50 %')):
        with pytest.raises(SystemExit):
            run_tool(made, tmp_path, '--against-random', lists=('first.json', name))
        assert said in capsys.readouterr().err
    assert not started


@pytest.mark.needs_sparse_conv
def test_a_folder_with_other_runs_is_refused(made, tmp_path, started, capsys):
    (tmp_path / 'random_first_seed0.py').write_text('model = dict()')
    assert 'random_first_seed0.py, a run with other settings' in refused(capsys, made, tmp_path, '--against-random')
    assert not started


@MODELS.register_module()
class BackboneWithStudent(nn.Module):
    """Stands for a detector's backbone."""

    def __init__(self, student_weights: str | None = 'required') -> None:
        super().__init__()


def detector_config() -> Config:
    steps = [dict(type='Load'), dict(type='ObjectSample', db_sampler=dict(type='Sampler', frame_list='old.json'))]
    frames = dict(type='RepeatDataset', times=1, dataset=dict(type='Frames', pipeline=steps))
    model = dict(type='PointRCNN', backbone=dict(type='BackboneWithStudent'))
    return Config(dict(model=model, train_dataloader=dict(dataset=frames)))


def test_a_detector_s_config_is_set_where_its_backbone_and_sampler_are(tmp_path):
    student, before = tmp_path / 'student.pth', detector_config()
    student.write_bytes(b'weights')
    found = _transfer_runs.configured(before, 'new.json', 7, str(student))
    frames = found.train_dataloader.dataset.dataset
    assert frames.frame_list == frames.pipeline[1].db_sampler.frame_list == 'new.json'
    assert (found.randomness.seed, found.model.backbone.student_weights) == (7, str(student))
    assert before.to_dict() == detector_config().to_dict()
    student.write_bytes(b'others')
    assert _transfer_runs.configured(before, 'new.json', 7, str(student)).student_sha256 != found.student_sha256
    random = _transfer_runs.configured(before, None, 7, None)
    assert random.model.backbone.student_weights is None and 'student_sha256' not in random


def test_a_model_without_a_student_has_no_slot():
    assert _transfer_runs.student_key(Config(dict(model=dict(type='PointRCNN', backbone=dict(type='SECOND'))))) is None


def test_several_gpus_go_through_torchrun(tmp_path):
    run = _transfer_runs.TransferRun('a', Config(dict()), tmp_path)
    command = run.command('train.py', '--resume', gpus=4)
    assert command[1:5] == ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=4']
    assert command[5:8] == [str(REPO / 'tools/train.py'), str(tmp_path / 'a.py'), '--resume']
    assert command[-2:] == ['--launcher', 'pytorch'] and '--launcher' not in run.command('train.py', gpus=1)


def test_a_run_of_iterations_counts_them(tmp_path):
    run = _transfer_runs.TransferRun('a', Config(dict(train_cfg=dict(max_iters=300))), tmp_path)
    run.work_dir.mkdir()
    for name in ('iter_100.pth', 'iter_200.pth', 'epoch_999.pth'):
        (run.work_dir / name).touch()
    assert (run.length, run.done, run.last_checkpoint.name) == (300, 200, 'iter_300.pth')
    run.results_file.touch()
    assert run.done == 300


def test_a_process_s_output_and_status_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(_transfer_runs, 'LOOK_EVERY_S', 0.05)
    looks = []
    command = [sys.executable, '-c', 'import time; print("here"); time.sleep(0.3); raise SystemExit(3)']
    with _transfer_runs.locked(tmp_path) as lock:
        assert _transfer_runs.run_process(command, tmp_path / 'log', lambda: looks.append(1), lock) == 3
    assert looks and (tmp_path / 'log').read_text().strip() == 'here'


def test_a_folder_is_kept_while_a_process_that_has_its_lock_lives(tmp_path):
    with _transfer_runs.locked(tmp_path) as lock:
        orphan = subprocess.Popen(['sleep', '60'], pass_fds=(lock.fileno(),))
        with pytest.raises(InputError, match='where runs are going on'), _transfer_runs.locked(tmp_path):
            pass
    with pytest.raises(InputError, match='where runs are going on'), _transfer_runs.locked(tmp_path):
        pass
    orphan.kill()
    orphan.wait()
    with _transfer_runs.locked(tmp_path):
        pass
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='cannot be written'), _transfer_runs.locked(tmp_path / 'file'):
        pass
