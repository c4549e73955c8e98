"""``demo.json``: what a demo did and which files it left; ``tools/report.py`` describes each key."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dacite import Config, DaciteError, from_dict

from cleverdistiller.errors import InputError

REMEDY = 'tools/report.py describes each key; tools/demo.py writes the file'


@dataclass(frozen=True)
class Teacher:
    """The image network that the students learned from."""

    kind: Literal['stand-in', 'dinov2', 'file']
    name: str
    text: str
    numbers: str | None = None


@dataclass(frozen=True)
class Stage:
    """A command of the demo; its seconds are None where they were not taken."""

    name: str
    title: str
    command: str
    seconds: int | float | None


@dataclass(frozen=True)
class Column:
    """A number that every method may have; ``higher_is_better`` is None where neither end is better."""

    key: str
    title: str
    quantity: str
    metric: str
    higher_is_better: bool | None
    unit: Literal['%', ''] = ''
    note: str = ''


@dataclass(frozen=True)
class Method:
    """A way to start, and for each column the results file of each run; None where it was not run."""

    name: str
    label: str
    results: dict[str, list[str] | None]


@dataclass(frozen=True)
class Curve:
    """Terms of a training's log; the label is a method's name, or free text."""

    label: str
    file_glob: str
    keys: tuple[str, ...]
    panel: str


@dataclass(frozen=True)
class Picture:
    """A picture, and what there is to see in it."""

    file: str
    title: str
    caption: str
    command: str = ''


@dataclass(frozen=True)
class NextStep:
    """A command that a reader may go on with."""

    title: str
    command: str


@dataclass(frozen=True)
class DemoRecord:
    """All of ``demo.json``.

    Raises:
        InputError: If names repeat, ``baseline`` or ``main`` is no method, or a method's results are not those of the
            columns.
    """

    seed: int
    simulated: bool
    teacher: Teacher
    stages: tuple[Stage, ...]
    baseline: str
    main: str
    methods: tuple[Method, ...]
    columns: tuple[Column, ...]
    curves: tuple[Curve, ...]
    pictures: tuple[Picture, ...]
    next_steps: tuple[NextStep, ...]

    def __post_init__(self) -> None:
        keys = [column.key for column in self.columns]
        names = [method.name for method in self.methods]
        _check_unlike('methods', names)
        _check_unlike('columns', keys)
        _check_unlike('stages', [stage.name for stage in self.stages])
        for role in ('baseline', 'main'):
            if getattr(self, role) not in names:
                raise InputError(f'{role} {getattr(self, role)!r}', f'one of the methods {", ".join(names)}', REMEDY)
        for method in self.methods:
            if set(method.results) != set(keys):
                raise InputError(
                    f'method {method.name} with results of {", ".join(sorted(method.results)) or "nothing"}',
                    f'an entry for each column: {", ".join(keys)}',
                    'give null for what was not run',
                )
            for key, files in method.results.items():
                _check_unlike(f'results of {method.name} in {key}', files or ())
                if files == []:
                    raise InputError(f'method {method.name} with no file in {key}', 'files or null', REMEDY)

    @classmethod
    def read(cls, path: Path) -> 'DemoRecord':
        """Read and check a file.

        Args:
            path (Path): ``demo.json``.

        Returns:
            DemoRecord: Its content.

        Raises:
            InputError: If it is missing or no JSON, or a key is missing, unknown or of another type; see the class.
        """
        content = read_object(path)
        try:
            return from_dict(cls, content, Config(strict=True, cast=[tuple]))
        except (DaciteError, TypeError) as error:  # TypeError: a scalar in the place of a list
            raise InputError(f'{path} with {error}', 'the keys and types of a demo record', REMEDY) from error
        except InputError as error:
            raise InputError(f'{path}: {error}') from error


def read_object(path: Path) -> dict:
    """Read a JSON object.

    Raises:
        InputError: If the file is missing or holds something else.
    """
    if not path.is_file():
        raise InputError(f'{path}, which is not a file', 'a file that the demo left', 'start `make demo` again')
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f'{path}, which is not JSON ({error})', 'a JSON object', 'start `make demo` again') from error
    if not isinstance(content, dict):
        raise InputError(f'{path} with a {type(content).__name__} inside', 'a JSON object', 'start `make demo` again')
    return content


def _check_unlike(what: str, names: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f'{what} with {", ".join(repeated)} more than once', 'each once', REMEDY)
