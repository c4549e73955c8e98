"""The numbers of a study: what its cells scored."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dacite import DaciteError, from_dict

from cleverdistiller.errors import InputError, listed
from cleverdistiller.fileio import visible_paths
from cleverdistiller.visualization.demo_report.results import Runs
from cleverdistiller.visualization.study_report.record import Column, StudyRecord

MISSING = 'missing'
TOLD = 3  # names of files in a message


@dataclass(frozen=True)
class Cell:
    """A method that did a task with a seed: one file under ``cells/``."""

    plan_sha256: str
    method: str
    task: str
    seed: int
    metrics: dict[str, int | float | None]
    made_from: dict

    @property
    def simulated(self) -> bool:
        """Whether it was scored on simulated data."""
        return bool(self.made_from.get('simulated'))


@dataclass(frozen=True)
class StudyResults:
    """What the cells of a study say.

    Args:
        table (Mapping[str, Mapping[str, Mapping[int, float]]]): Method to column to seed to value, in the unit of the
            column. A seed that is missing has no entry.
        simulated (bool): Whether the data are.
    """

    table: Mapping[str, Mapping[str, Mapping[int, float]]]
    simulated: bool

    def runs(self, method: str, column: Column) -> Runs | None:
        """The values over the seeds; None if there is none."""
        values = self.table[method][column.key]
        return Runs(tuple(values[seed] for seed in sorted(values))) if values else None

    def best(self, column: Column) -> set[str]:
        """Names of the methods whose mean, as shown, is the best; none if there is nothing to compare."""
        found = {method: self.runs(method, column) for method in self.table}
        means = {method: float(shown(runs.mean, column)) for method, runs in found.items() if runs}
        if len(means) < 2 or column.higher_is_better is None:
            return set()
        top = max(means.values()) if column.higher_is_better else min(means.values())
        return {method for method, mean in means.items() if mean == top}


def shown(value: float, column: Column, sign: bool = False) -> str:
    """A value in the unit of its column, without the unit: to 0.1 for percents, to 0.01 otherwise."""
    return f'{value:{"+" if sign else ""}.{1 if column.unit else 2}f}'


def read_cells(folder: Path, record: StudyRecord) -> StudyResults:
    """Read every cell that is there.

    Args:
        folder (Path): With ``METHOD_TASK_seedN.json``; one that is not there has no cells.
        record (StudyRecord): Of the study.

    Returns:
        StudyResults: The numbers.

    Raises:
        InputError: If a file is damaged or of another plan, or some are of simulated data and some are not.
    """
    found = {path.name: _read(path, record) for path in visible_paths(folder, '*.json')}
    broken = [f'{folder / name} ({why})' for name, why in found.items() if isinstance(why, str)]
    if broken:
        raise InputError(
            listed(broken, TOLD),
            'cells of the plan in study.json',
            f'say it again, it writes them anew: {record.command}',
        )
    simulated = {cell.simulated: folder / name for name, cell in found.items()}
    if len(simulated) == 2:
        raise InputError(
            f'{simulated[True]}, scored on simulated data, beside {simulated[False]}, which is not',
            'cells of one kind of data',
            'give each kind a study of its own: simulated numbers must be told apart from real ones',
        )
    return StudyResults(_table(record, list(found.values())), True in simulated)


def _read(path: Path, record: StudyRecord) -> Cell | str:
    """A cell, or why it is none."""
    try:
        cell = from_dict(Cell, json.loads(path.read_text(encoding='utf-8'), parse_constant=_refuse))
    except (ValueError, DaciteError, TypeError) as error:  # TypeError: a number in the place of the object
        return f'damaged: {error}'
    if cell.plan_sha256 != record.plan_sha256:
        return 'of another plan'
    planned = (
        cell.method in {method.name for method in record.methods}
        and cell.task in {task.name for task in record.tasks}
        and cell.seed in record.seeds
    )
    if not planned or path.name != f'{cell.method}_{cell.task}_seed{cell.seed}.json':
        return f'with {cell.method}, {cell.task}, seed {cell.seed} inside'
    return cell


def _refuse(constant: str) -> float:
    raise ValueError(f'{constant} is not JSON')


def _table(record: StudyRecord, cells: list[Cell]) -> dict[str, dict[str, dict[int, float]]]:
    by_place = {(cell.method, cell.task, cell.seed): cell.metrics for cell in cells}
    table: dict[str, dict[str, dict[int, float]]] = {}
    for method in record.methods:
        table[method.name] = {}
        for task in record.tasks:
            for column in task.columns:
                scores = {
                    seed: by_place.get((method.name, task.name, seed), {}).get(column.metric) for seed in record.seeds
                }
                factor = 100 if column.unit else 1
                table[method.name][column.key] = {
                    seed: factor * score for seed, score in scores.items() if score is not None
                }
    return table
