"""tools/study.py with small scripts in place of the tools."""

import json
import os
import sys
import textwrap
from pathlib import Path
from unittest import mock

import pytest

from conftest import REPO

sys.path.insert(0, str(REPO / 'tools'))

import _stages
from _stages import StageRunner
from _study_plan import StudyPlan
from cleverdistiller.errors import InputError
from cleverdistiller.visualization.study_report import StudyRecord, draw_study, read_cells

with mock.patch.dict(os.environ):  # it limits the threads of its process: not of the other tests' ones
    import study

# Tell who called; a transfer's number follows from its student's bytes and its seed.
TRAIN = """
import hashlib, json, os, pathlib, sys
config, _, work, _, *options = sys.argv[1:]
options = dict(option.split('=', 1) for option in options if '=' in option and not option.startswith('--'))
with open('calls', 'a') as calls:
    calls.write(work + '\\n')
if os.path.exists('broken') and pathlib.Path('broken').read_text() in work:
    raise ValueError('broken')
work = pathlib.Path(work)
work.mkdir(parents=True, exist_ok=True)
if 'transfer' not in config:
    (work / 'student.safetensors').write_text(f'{config} {sorted(options.items())}')
else:
    student = options['model.student_weights']  # as the real one, it must be told
    told = ('random' if student == 'None' else pathlib.Path(student).read_text()) + options['randomness.seed']
    miou = int(hashlib.sha256(told.encode()).hexdigest()[:4], 16) / 65536
    made_from = dict(simulated=True)
    (work / 'val_results.json').write_text(json.dumps({'seg/miou': miou, 'nothing': None, 'made_from': made_from}))
"""
TELL = """
import os, sys
with open(f'out/env{os.environ.get("RANK", 0)}', 'w') as told:
    print(dict(os.environ), sys.argv, file=told)
"""
RANKME = """
import json, pathlib, sys
_, source, _, out, *_ = sys.argv[1:]
pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
pathlib.Path(out).write_text(json.dumps({'rank/rankme': float(len(source)), 'made_from': {'simulated': True}}))
"""
STUDY = """
name: small
title: A small study
seeds: [0, 1]
environment: {WIDTH: '{out}'}
before: {'list/{seed}': {command: 'tools/list.py {out}/{seed}', outputs: ['{out}/{seed}']}}
methods:
  - {name: random, label: random weights}
  - {name: linear, label: linear head, config: configs/linear.py, options: [a=b c], paper: {lp: 40.0}}
  - {name: mlp, label: MLP head, config: configs/mlp.py}
tasks:
  - name: rank
    rank: configs/mlp.py
    columns: [{key: rankme, title: RankMe, metric: rank/rankme, higher_is_better: null}]
  - name: lp
    config: configs/transfer.py
    options: ['list={out}/{seed}']
    columns: [{key: lp, title: LP, metric: seg/miou, unit: '%', higher_is_better: true}]
orders: [[linear, mlp]]
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    for folder in ('tools', 'configs'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'tools/train.py').write_text(TRAIN)
    (tmp_path / 'tools/rankme.py').write_text(RANKME)
    (tmp_path / 'tools/list.py').write_text('import sys; open(sys.argv[1], "w").close()')
    for name in ('linear', 'mlp'):
        (tmp_path / f'configs/{name}.py').write_text(f"train_cfg = dict(max_epochs=2)\nname = '{name}'")
    (tmp_path / 'configs/transfer.py').write_text(
        "train_cfg = dict(max_epochs=2)\nmodel = dict(type='StudentSegmentor')\nwidth = '{{$WIDTH:none}}'"
    )
    (tmp_path / 'study.yaml').write_text(STUDY)
    monkeypatch.setattr(_stages, 'ROOT', tmp_path)
    monkeypatch.setattr(_stages, 'LOOK_EVERY_S', 0.01)
    monkeypatch.setenv('WIDTH', 'out')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(only=None, gpus: int = 0) -> StudyPlan:
    plan = StudyPlan('study.yaml', Path('out'))
    runner = StageRunner(plan.out, 1 if gpus else 2, gpus)
    plan.publish(runner)
    study.run(plan, runner, only)
    return plan


def cells() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path('out/cells').glob('*.json')}


def test_every_cell_has_its_numbers_and_what_made_them(place):
    plan = make()
    assert len(plan.cells) == len(cells()) == 2 * 3 * 2
    cell = json.loads(cells()['linear_lp_seed1.json'])
    results = json.loads(Path('out/lp/linear_seed1/val_results.json').read_text())
    assert cell['metrics'] == {'seg/miou': results['seg/miou'], 'nothing': None}
    assert (cell['method'], cell['task'], cell['seed']) == ('linear', 'lp', 1) and cell['plan_sha256'] == plan.sha256
    pretraining, transfer = cell['made_from']['commands']
    assert pretraining.startswith('python tools/train.py configs/linear.py --work-dir out/pretrain/linear_seed1 ')
    assert "randomness.seed=1 'a=b c'" in pretraining and 'list=out/1' in transfer
    assert 'model.student_weights=out/pretrain/linear_seed1/student.safetensors' in transfer
    assert set(cell['made_from']['config_sha256']) == {'configs/linear.py', 'configs/transfer.py'}
    assert len(cell['made_from']['student_sha256']) == 64 and cell['made_from']['simulated']
    random = json.loads(cells()['random_rank_seed0.json'])
    assert random['metrics'] == {'rank/rankme': 6.0} and random['made_from']['student_sha256'] is None


def test_the_tables_read_what_the_study_writes(place):
    make()
    record = StudyRecord.read(Path('out/study.json'))
    table = draw_study(record, read_cells(Path('out/cells'), record))['table.md']
    text = table if isinstance(table, str) else table.decode()
    assert '| missing |' not in text and 'linear head' in text and '| 40 |' in text and 'SIMULATED' in text


def test_what_is_done_is_not_done_again(place):
    make()
    before, calls = cells(), Path('calls').read_text()
    make()
    assert cells() == before and Path('calls').read_text() == calls


def test_a_study_that_was_stopped_ends_with_the_same_cells(place):
    (place / 'broken').write_text('lp/mlp_seed1')
    with pytest.raises(InputError, match='broken'):
        make()
    stopped = cells()
    assert 0 < len(stopped) < 12
    (place / 'broken').unlink()
    make()
    resumed = cells()
    assert stopped.items() <= resumed.items()
    for path in sorted(Path('out').rglob('*'), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    make()
    assert cells() == resumed


def test_a_cell_that_is_not_true_any_more_goes(place):
    make()
    stale = cells()
    (place / 'study.yaml').write_text(STUDY.replace('a=b c', 'a=d'))
    plan = StudyPlan('study.yaml', Path('out'))
    plan.publish(StageRunner(plan.out, 2))
    left = set(cells())
    assert left == {name for name in stale if not name.startswith('linear')}
    make()
    new = cells()
    assert set(new) == set(stale) and new['linear_lp_seed0.json'] != stale['linear_lp_seed0.json']


def test_words_for_people_change_no_plan(place):
    sha = StudyPlan('study.yaml', Path('out')).sha256
    (place / 'study.yaml').write_text(STUDY.replace('label: MLP head', 'label: a head'))
    assert StudyPlan('study.yaml', Path('out')).sha256 == sha
    (place / 'study.yaml').write_text(STUDY.replace('configs/mlp.py}', 'configs/linear.py}'))
    assert StudyPlan('study.yaml', Path('out')).sha256 != sha


def test_one_stage_alone_wants_what_it_reads(place):
    with pytest.raises(InputError, match='list/0, list/1 is missing'):
        make('pretrain/mlp_seed0')
    with pytest.raises(InputError, match='--only nothing'):
        make('nothing')
    for name in ('list/0', 'list/1', 'pretrain/mlp_seed0', 'lp/mlp_seed0'):
        make(name)
    assert set(cells()) == {'mlp_lp_seed0.json'}


@pytest.mark.parametrize('gpus', [1, 2])
def test_with_gpus_a_training_is_a_process_of_its_own(place, monkeypatch, gpus):
    (place / 'tools/train.py').write_text(TELL + TRAIN)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    for name in ('list/0', 'list/1', 'pretrain/mlp_seed0'):
        make(name, gpus)
    ranks = sorted(Path('out').glob('env?'))
    assert len(ranks) == gpus
    assert ('--launcher=pytorch' in ranks[0].read_text()) == (gpus > 1)
    assert gpus > 1 or 'OMP_NUM_THREADS' not in ranks[0].read_text()  # torchrun sets it itself


SBATCH = """#!/bin/sh
printf '%s\\n' "$*" >> jobs
wc -l < jobs
"""


def test_slurm_gets_a_job_for_each_stage_that_is_left(place, monkeypatch):
    (place / 'sbatch').write_text(SBATCH)
    (place / 'sbatch').chmod(0o755)
    monkeypatch.setenv('PATH', f'{place}:{os.environ["PATH"]}')
    for name in ('list/0', 'list/1', 'pretrain/mlp_seed0'):
        make(name)
    plan = StudyPlan('study.yaml', Path('out'))
    jobs = study.hand_over(plan, StageRunner(plan.out, 1), ['--partition=long'], 4)
    assert len(jobs) == len(plan.stages) - 3 and 'pretrain/mlp_seed0' not in jobs
    lines = (place / 'jobs').read_text().splitlines()
    mine = {name: lines[int(job) - 1] for name, job in jobs.items()}
    assert f'--dependency=afterok:{jobs["pretrain/linear_seed1"]} ' in mine['lp/linear_seed1']
    assert '--dependency' not in mine['lp/mlp_seed0'] + mine['pretrain/linear_seed0']
    wanted = 'study.yaml --work-dir out --only pretrain/linear_seed1 --gpus 4'
    assert wanted in mine['pretrain/linear_seed1'] and '--partition=long' in mine['pretrain/linear_seed1']
    (place / 'sbatch').write_text('#!/bin/sh\necho no such partition >&2; exit 1')
    with pytest.raises(InputError, match='no such partition'):
        study.hand_over(plan, StageRunner(plan.out, 1), [], 4)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda text: 'a: [', 'no YAML'),
        (lambda text: text + 'colour: red\n', 'colour'),
        (lambda text: text.replace('title: A small study\n', ''), 'title'),
        (lambda text: text.replace('seeds: [0, 1]', 'seeds: []'), 'whole numbers'),
        (lambda text: text.replace('{name: mlp,', '{name: linear,'), 'a name of its own'),
        (lambda text: text.replace('orders: [[linear', 'orders: [[conv'), 'conv'),
        (lambda text: text.replace('config: configs/mlp.py', 'config: configs/none.py'), r'configs/none\.py'),
        (lambda text: text.replace('    rank: configs/mlp.py\n', ''), 'either config or rank'),
        (lambda text: text.replace('label: MLP head', 'lable: MLP head'), 'lable'),
    ],
)
def test_a_study_that_cannot_be_is_refused(place, change, message):
    changed = change(STUDY)
    assert changed != STUDY
    (place / 'study.yaml').write_text(textwrap.dedent(changed))
    with pytest.raises(InputError, match=message):
        StudyPlan('study.yaml', Path('out'))


@pytest.mark.parametrize('path', sorted((REPO / 'configs/study').glob('*.yaml')), ids=lambda path: path.stem)
def test_the_shipped_studies_can_be_planned(path, monkeypatch):
    monkeypatch.chdir(REPO)
    plan = StudyPlan(str(path.relative_to(REPO)), Path('work_dirs') / path.stem)
    assert len(plan.cells) == len(plan.seeds) * len(plan.methods) * len(plan.tasks)
    names = [stage.name for stage in plan.stages]
    assert all(names.index(other) < names.index(stage.name) for stage in plan.stages for other in stage.after)
    assert all((REPO / config).is_file() for stage in plan.stages for config in stage.configs())
    keys = {column['key'] for task in plan.tasks for column in task.columns}
    assert all(set(method.paper) <= keys for method in plan.methods)
