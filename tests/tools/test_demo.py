"""The plan of ``make demo``; its stages are run by test_stages.py with small scripts, and by hand in full."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from cleverdistiller.visualization.demo_report import DemoRecord
from conftest import REPO
from runs import run_script

sys.path.insert(0, str(REPO / 'tools'))

from _demo_plan import DETECTOR, EPOCHS, FEW, FEW_EPOCHS, FEW_KITTI, FINETUNE, PRETRAIN, STUDENTS, DemoPlan
from _transfer_runs import locked

PLANS = [DemoPlan(0, 'stand-in'), DemoPlan(2, 'dinov2'), DemoPlan(0, '/some where/dinov2.pth')]


def config(path: str) -> Config:
    return Config.fromfile(REPO / path, import_custom_modules=False)


def test_each_seed_and_teacher_has_a_folder_of_its_own():
    assert [str(plan.out) for plan in PLANS] == ['work_dirs/demo', 'work_dirs/demo_dinov2_seed2', 'work_dirs/demo_file']


@pytest.mark.parametrize('plan', PLANS, ids=lambda plan: plan.kind)
def test_each_file_of_a_command_is_made_by_a_stage_before(plan):
    made: dict[str, set[Path]] = {}  # by stage, with those it comes after
    for stage in plan.stages():
        assert stage.name not in made
        own = {*stage.outputs, *([stage.work_dir] if stage.work_dir else [])}
        before = set().union(*(made[name] for name in stage.after))
        named = {Path(path) for path in re.findall(rf'{plan.out}[^ ]*', stage.command)}
        for path in named:
            root = any(other.parent == path for other in own | before)  # of a data set, or of lists
            assert path in own | before or root, (stage.name, path)
        made[stage.name] = own | before


@pytest.mark.parametrize('plan', PLANS, ids=lambda plan: plan.kind)
def test_tools_and_configs_of_the_commands_are_there(plan):
    for stage in plan.stages():
        tool, *words = shlex.split(stage.command)
        assert (REPO / tool).is_file() and all((REPO / path).is_file() for path in stage.configs())
        assert (stage.work_dir is not None) == (tool == 'tools/train.py') == ('--work-dir' in words)


def test_the_plan_knows_what_its_configs_say():
    for method in STUDENTS:
        assert config(PRETRAIN.format(method)).train_cfg.max_epochs == EPOCHS
    assert config(FINETUNE).train_cfg.max_epochs == FEW_EPOCHS
    for path, percent in ((FINETUNE, FEW), (DETECTOR, FEW_KITTI)):
        assert config(path).train_dataloader.dataset.frame_list.endswith(f'uniform0_{percent}.json')


def test_a_real_teacher_is_never_replaced_by_the_stand_in():
    for plan in PLANS[1:]:
        commands = [stage.command for stage in plan.stages()]
        assert not any('teacher_vit_simulated' in command or 'format images' in command for command in commands)
        students = [stage.command for stage in plan.pretrained()]
        weights = 'hub' if plan.kind == 'dinov2' else plan.teacher
        assert len(students) == len(STUDENTS)
        assert all(f'model.teacher.weights={weights}' in shlex.split(command) for command in students)
    assert PLANS[2].pretrained()[0].reads == (Path('/some where/dinov2.pth'),)


@pytest.mark.parametrize('plan', PLANS, ids=lambda plan: plan.kind)
def test_the_report_takes_what_is_told(plan, tmp_path):
    told = plan.told({stage.name: 1.0 for stage in plan.stages()})
    (tmp_path / 'demo.json').write_text(json.dumps(told))
    record = DemoRecord.read(tmp_path / 'demo.json')
    outputs = {str(path.relative_to(plan.out)) for stage in plan.stages() for path in stage.outputs}
    results = [file for method in record.methods for files in method.results.values() for file in files or ()]
    assert set(results) <= outputs and {picture.file for picture in record.pictures} <= outputs


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_cleaning_removes_what_the_demo_made_alone(place, capsys):
    for name in ('demo_seed1', 'mine'):
        (place / 'work_dirs' / name).mkdir(parents=True)
    plan = PLANS[0]
    for path in (*(path for stage in plan.stages() for path in stage.outputs), *plan.report().outputs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('made')
    for path in ('stages/simulate.json', 'logs/simulate.log', 'demo.json', 'notes.txt'):
        (plan.out / path).parent.mkdir(exist_ok=True)
        (plan.out / path).write_text('written')
    run_script(REPO / 'tools/demo.py', '--clean')
    assert [path.name for path in plan.out.iterdir()] == ['notes.txt'] and 'left: notes.txt' in capsys.readouterr().out
    (plan.out / 'notes.txt').unlink()
    run_script(REPO / 'tools/demo.py', '--clean')
    assert sorted(path.name for path in (place / 'work_dirs').iterdir()) == ['demo_seed1', 'mine']


def test_a_demo_at_work_is_not_cleaned(place, capsys):
    with locked(place / 'work_dirs/demo'), pytest.raises(SystemExit):
        run_script(REPO / 'tools/demo.py', '--clean')
    assert 'runs are going on' in capsys.readouterr().err


def test_a_teacher_that_is_not_there_is_an_error(place, capsys):
    with pytest.raises(SystemExit):
        run_script(REPO / 'tools/demo.py', '--teacher', 'nowhere.pth')
    assert 'nowhere.pth, which is no file' in capsys.readouterr().err and not (place / 'work_dirs').exists()
