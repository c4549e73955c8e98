"""A comparison study: what its YAML file says, the stages that it takes, and the JSON file of each cell."""

import hashlib
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from _stages import Stage, StageRunner, read_config
from _transfer_runs import student_key
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete, visible_paths
from cleverdistiller.provenance import versions

NEEDED = ('name', 'title', 'seeds', 'methods', 'tasks')
KNOWN = (*NEEDED, 'environment', 'before', 'orders')


@dataclass(frozen=True)
class Before:
    """A command that the whole study needs first; with ``{seed}`` in its name, one for each seed.

    Args:
        name (str): Its key.
        command (str): As of :class:`Stage`.
        outputs (Sequence[str]): Files that it makes.
        after (Sequence[str]): Names of those that come before it.
        work_dir (str | None): Of a training, which is then resumed after a kill.
        expected_s (float): About how long it takes.
    """

    name: str
    command: str
    outputs: Sequence[str]
    after: Sequence[str] = ()
    work_dir: str | None = None
    expected_s: float = 60.0


@dataclass(frozen=True)
class Method:
    """A way to pretrain, or a start that needs none.

    Args:
        name (str): As in files and tables.
        label (str): For people.
        config (str | None): Of pretraining; None starts from random weights, or from ``student``.
        options (Sequence[str]): ``KEY=VALUE`` for it.
        student (str | None): An exported student that is there already, in place of ``config``.
        paper (Mapping[str, float]): The paper's number of some columns.
        expected_s (float): About how long pretraining takes.
    """

    name: str
    label: str
    config: str | None = None
    options: Sequence[str] = ()
    student: str | None = None
    paper: Mapping[str, float] = field(default_factory=dict)
    expected_s: float = 600.0


@dataclass(frozen=True)
class Task:
    """Something that students are measured by: a transfer, or with ``rank`` the spectrum of their features.

    Args:
        name (str): As in files.
        columns (Sequence[Mapping]): See ``tools/results.py``.
        config (str | None): Of a transfer that is validated after its last epoch and writes its results.
        rank (str | None): A pretraining config for ``tools/rankme.py``.
        options (Sequence[str]): ``KEY=VALUE`` for it.
        percent (float | None): Share of the labels.
        expected_s (float): About how long it takes.
    """

    name: str
    columns: Sequence[Mapping]
    config: str | None = None
    rank: str | None = None
    options: Sequence[str] = ()
    percent: float | None = None
    expected_s: float = 600.0


@dataclass(frozen=True)
class Cell:
    """One method, one task, one seed: the stage that measures it, and where its numbers are.

    Args:
        method (Method): Of the row.
        task (Task): Of the columns.
        seed (int): Of pretraining and task alike.
        stage (Stage): The last one of the cell.
        pretraining (Stage | None): None where there is none.
    """

    method: Method
    task: Task
    seed: int
    stage: Stage
    pretraining: Stage | None

    @property
    def name(self) -> str:
        return f'{self.method.name}_{self.task.name}_seed{self.seed}'


class StudyPlan:
    """A study in a folder.

    ``{out}`` in its commands and options stands for the folder, ``{seed}`` for the seed.

    Args:
        path (str): The YAML file, see ``tools/study.py``.
        out (Path): The folder.

    Raises:
        InputError: If the file is not there, is no YAML, or says something unknown or too little.
    """

    def __init__(self, path: str, out: Path) -> None:
        self.path, self.out = path, out
        said = _read(path)
        self.name, self.title, self.seeds = said['name'], said['title'], said['seeds']
        self.environment = {key: self._fill(value) for key, value in said.get('environment', {}).items()}
        self.before = [_build(Before, dict(entry, name=name), path) for name, entry in said.get('before', {}).items()]
        self.methods = [_build(Method, entry, path) for entry in said['methods']]
        self.tasks = [_build(Task, entry, path) for entry in said['tasks']]
        self.orders = said.get('orders', [])
        self._check(path)

    @property
    def cells(self) -> list[Cell]:
        """One for each method, task and seed; the configs are read in this process's environment."""
        return self._laid_out[1]

    @property
    def stages(self) -> list[Stage]:
        """All, in an order in which each comes after what it reads."""
        return self._laid_out[0]

    def told(self) -> dict:
        """What ``study.json`` says: what was planned, for ``tools/results.py``."""
        return dict(
            name=self.name,
            title=self.title,
            seeds=self.seeds,
            methods=[dict(name=each.name, label=each.label, paper=dict(each.paper)) for each in self.methods],
            tasks=[
                dict(name=each.name, columns=list(each.columns))
                | ({} if each.percent is None else dict(percent=each.percent))
                for each in self.tasks
            ],
            orders=self.orders,
            command=shlex.join(['python', 'tools/study.py', str(self.path)]),
            plan_sha256=self.sha256,
        )

    @property
    def sha256(self) -> str:
        """Of what the numbers follow from; words for people may change."""
        for_people = ('label', 'paper', 'columns', 'expected_s')
        parts = [
            {key: value for key, value in asdict(each).items() if key not in for_people}
            for each in (*self.before, *self.methods, *self.tasks)
        ]
        return hashlib.sha256(json.dumps([self.environment, parts], default=list).encode()).hexdigest()

    def publish(self, runner: StageRunner) -> None:
        """Write ``study.json`` and the cells of all that is done; those of what is not done any more are removed."""
        _write_json(self.out / 'study.json', self.told())
        runner.look(self.stages)
        for path in visible_paths(self.out / 'cells', '*.json'):
            if path.stem not in {cell.name for cell in self.cells if cell.stage.name in runner.records}:
                path.unlink()
        for stage in self.stages:
            if stage.name in runner.records:
                self.publish_cell(stage, runner)

    def publish_cell(self, stage: Stage, runner: StageRunner) -> None:
        """Write the JSON file of the cell that a finished stage measures, if it measures one."""
        for cell in self.cells:
            if cell.stage == stage:
                _write_json(self.out / 'cells' / f'{cell.name}.json', self._told_of(cell, runner))

    def _told_of(self, cell: Cell, runner: StageRunner) -> dict:
        results = json.loads(cell.stage.outputs[0].read_text())
        found = results.pop('made_from', {})
        steps = [stage for stage in (cell.pretraining, cell.stage) if stage is not None]
        student = self._student(cell.method, cell.seed)
        made_from = dict(
            commands=[f'python {stage.command}' for stage in steps],
            config_sha256={
                config: hashlib.sha256(read_config(config).pretty_text.encode()).hexdigest()
                for stage in steps
                for config in stage.configs()
            },
            student_sha256=student and hashlib.sha256(student.read_bytes()).hexdigest(),
            seed=cell.seed,
            versions=versions(),
        )
        if found.get('simulated'):
            made_from['simulated'] = True
        return dict(
            plan_sha256=self.sha256,
            method=cell.method.name,
            task=cell.task.name,
            seed=cell.seed,
            metrics={name: value for name, value in results.items() if value is None or math.isfinite(value)},
            made_from=made_from,
        )

    @cached_property
    def _laid_out(self) -> tuple[list[Stage], list[Cell]]:
        stages = self._first()
        first = tuple(stage.name for stage in stages)
        cells = []
        for seed in self.seeds:
            for method in self.methods:
                pretraining = None
                if method.config is not None:
                    pretraining = self._pretraining(method, seed, first)
                    stages.append(pretraining)
                for task in self.tasks:
                    stage = self._measuring(task, method, seed, (pretraining.name,) if pretraining else first)
                    cells.append(Cell(method, task, seed, stage, pretraining))
        # Pretrainings first: they are the longest, and most waits for them.
        return stages + [cell.stage for cell in cells], cells

    def _first(self) -> list[Stage]:
        stages: dict[str, Stage] = {}
        for entry in self.before:
            for seed in self.seeds:
                name = self._fill(entry.name, seed)
                stages[name] = Stage(
                    name,
                    name,
                    self._fill(entry.command, seed),
                    tuple(Path(self._fill(path, seed)) for path in entry.outputs),
                    entry.expected_s,
                    tuple(self._fill(other, seed) for other in entry.after),
                    work_dir=None if entry.work_dir is None else Path(self._fill(entry.work_dir, seed)),
                )
        return list(stages.values())

    def _pretraining(self, method: Method, seed: int, after: tuple[str, ...]) -> Stage:
        student = self._student(method, seed)
        work_dir = student.parent
        return Stage(
            f'pretrain/{work_dir.name}',
            f'Pretrain: {method.label}, seed {seed}',
            self._train(method.config, work_dir, seed, method.options),
            (student,),
            method.expected_s,
            after,
            work_dir=work_dir,
        )

    def _measuring(self, task: Task, method: Method, seed: int, after: tuple[str, ...]) -> Stage:
        student = self._student(method, seed)
        name, title = f'{task.name}/{method.name}_seed{seed}', f'{task.name}: {method.label}, seed {seed}'
        reads = () if method.student is None else (student,)
        if task.rank is not None:
            measured = self.out / task.name / f'{method.name}_seed{seed}.json'
            words = ['tools/rankme.py', task.rank, str(student or 'random'), '--out', str(measured)]
            options = [f'randomness.seed={seed}', *self._filled(task.options, seed)]
            command = shlex.join([*words, '--cfg-options', *options])
            return Stage(name, title, command, (measured,), task.expected_s, after, reads)
        work_dir = self.out / task.name / f'{method.name}_seed{seed}'
        # Without a student, too: a transfer from random weights has to be asked for.
        options = [*task.options, f'{self._student_key(task)}={student}']
        command = self._train(task.config, work_dir, seed, options)
        return Stage(
            name, title, command, (work_dir / 'val_results.json',), task.expected_s, after, reads, work_dir=work_dir
        )

    def _train(self, config: str, work_dir: Path, seed: int, options: Iterable[str]) -> str:
        words = ['tools/train.py', config, '--work-dir', str(work_dir)]
        return shlex.join([*words, '--cfg-options', f'randomness.seed={seed}', *self._filled(options, seed)])

    def _student(self, method: Method, seed: int) -> Path | None:
        if method.config is not None:
            return self.out / 'pretrain' / f'{method.name}_seed{seed}' / 'student.safetensors'
        return None if method.student is None else Path(self._fill(method.student, seed))

    def _student_key(self, task: Task) -> str:
        key = student_key(read_config(task.config))
        if key is None:
            raise InputError(
                f'{task.config}, whose model takes no student', 'a model with student_weights', 'choose another config'
            )
        return key

    def _filled(self, texts: Iterable[str], seed: int) -> list[str]:
        return [self._fill(text, seed) for text in texts]

    def _fill(self, text: str, seed: int | None = None) -> str:
        text = text.replace('{out}', str(self.out))
        return text if seed is None else text.replace('{seed}', str(seed))

    def _check(self, path: str) -> None:
        if not self.seeds or not all(isinstance(seed, int) for seed in self.seeds):
            raise InputError(f'{path} with seeds {self.seeds}', 'a list of whole numbers', 'correct it')
        for kind, entries in (('methods', self.methods), ('tasks', self.tasks)):
            names = [entry.name for entry in entries]
            if len(set(names)) < len(names):
                raise InputError(f'{path}: {kind} named {names}', 'a name of its own for each', 'rename one')
        for task in self.tasks:
            if (task.config is None) == (task.rank is None):
                raise InputError(f'{path}: task {task.name}', 'either config or rank', 'give one of them')
        for method in self.methods:
            if method.config is not None and method.student is not None:
                raise InputError(f'{path}: method {method.name} with config and student', 'one of them', 'drop one')
        configs = [each.config for each in (*self.methods, *self.tasks)] + [task.rank for task in self.tasks]
        for config in filter(None, configs):
            if not Path(config).is_file():
                raise InputError(f'{path}, which names {config}', 'a config that is there', 'correct the path')
        known = {method.name for method in self.methods}
        named = [name for order in self.orders for name in order]
        if unknown := set(named) - known:
            raise InputError(f'{path}, which names {sorted(unknown)}', f'methods {sorted(known)}', 'correct the name')


def _read(path: str) -> dict:
    try:
        said = Config.fromfile(path).to_dict()
    except OSError as error:
        raise InputError(f'no study {path} ({error})', 'a YAML file', 'see configs/study') from error
    except yaml.YAMLError as error:
        raise InputError(f'{path}, which is no YAML ({error})', 'a YAML file', 'correct it') from error
    found = set(said)
    if not set(NEEDED) <= found <= set(KNOWN):
        raise InputError(
            f'{path} with {sorted(map(str, found))}',
            f'{", ".join(NEEDED)}; maybe others of {KNOWN}',
            'see configs/study',
        )
    return said


def _build(kind: type, entry: Any, path: str):
    try:
        return kind(**entry)
    except TypeError as error:
        names = [each.name for each in fields(kind)]
        raise InputError(
            f'{path}: {kind.__name__.lower()} {entry} ({error})', f'a mapping of {names}', 'correct it'
        ) from error


def _write_json(path: Path, content: Mapping) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_when_complete(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + '\n')
