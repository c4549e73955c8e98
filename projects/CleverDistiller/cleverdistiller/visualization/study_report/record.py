"""``study.json``: what a comparison study plans; ``tools/results.py`` describes each key."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dacite import Config, DaciteError, from_dict

from cleverdistiller.errors import InputError

REMEDY = 'tools/results.py describes each key; tools/study.py writes the file'


@dataclass(frozen=True)
class Column:
    """A number that every method may have; ``higher_is_better`` is None where neither end is better."""

    key: str
    title: str
    metric: str
    higher_is_better: bool | None
    unit: Literal['%', ''] = ''

    @property
    def axis_title(self) -> str:
        """The title with its unit."""
        return f'{self.title} (%)' if self.unit else self.title


@dataclass(frozen=True)
class Task:
    """What every student is put to; ``percent`` is the share of the labels that it learns from."""

    name: str
    columns: tuple[Column, ...]
    percent: int | float | None = None


@dataclass(frozen=True)
class Method:
    """A row of the table; ``paper`` has what the paper prints, by column."""

    name: str
    label: str
    paper: dict[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyRecord:
    """All of ``study.json``.

    Raises:
        InputError: If names repeat, nothing is planned, or a method or column is named that is not there.
    """

    name: str
    title: str
    seeds: tuple[int, ...]
    methods: tuple[Method, ...]
    tasks: tuple[Task, ...]
    orders: tuple[tuple[str, ...], ...]
    command: str
    plan_sha256: str

    def __post_init__(self) -> None:
        keys = [column.key for column in self.columns]
        names = [method.name for method in self.methods]
        _check_unlike('seeds', self.seeds)
        _check_unlike('methods', names)
        _check_unlike('tasks', [task.name for task in self.tasks])
        _check_unlike('columns', keys)
        for method in self.methods:
            _check_known(f'paper of {method.name}', method.paper, keys)
        for chain in self.orders:
            _check_known('orders', chain, names)
            if len(chain) < 2:
                raise InputError(f'orders with {list(chain)}', 'two methods or more in each', REMEDY)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of all tasks."""
        return tuple(column for task in self.tasks for column in task.columns)

    @classmethod
    def read(cls, path: Path) -> 'StudyRecord':
        """Read and check a file.

        Args:
            path (Path): ``study.json``.

        Returns:
            StudyRecord: Its content.

        Raises:
            InputError: If it is missing or no JSON, or a key is missing or of another type; see the class.
        """
        if not path.is_file():
            raise InputError(f'{path}, which is not a file', 'the plan of a study', 'give the folder of a study')
        try:
            return from_dict(cls, json.loads(path.read_text(encoding='utf-8')), Config(cast=[tuple]))
        except InputError as error:
            raise InputError(f'{path}: {error}') from error
        except (ValueError, DaciteError, TypeError) as error:  # TypeError: a scalar in the place of a list
            raise InputError(f'{path} with {error}', 'the keys and types of a study', REMEDY) from error


def _check_unlike(what: str, names: Iterable[str | int]) -> None:
    counts = Counter(names)
    repeated = [str(name) for name, count in counts.items() if count > 1]
    if repeated or not counts:
        got = f'{", ".join(repeated)} more than once' if repeated else 'nothing in them'
        raise InputError(f'{what} with {got}', 'one or more, each once', REMEDY)


def _check_known(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise InputError(f'{what} with {", ".join(unknown)}', f'any of {", ".join(known)}', REMEDY)
