"""The numbers of a demo: what each method's runs scored."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from cleverdistiller.errors import InputError
from cleverdistiller.visualization.demo_report.record import Column, DemoRecord, read_object


@dataclass(frozen=True)
class Runs:
    """The values of one metric over a method's runs.

    Args:
        values (tuple[float, ...]): At least one.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of all runs."""
        return fmean(self.values)

    @property
    def std(self) -> float | None:
        """Standard deviation (n - 1); None for a single run."""
        return stdev(self.values) if len(self.values) > 1 else None

    def overlaps(self, other: 'Runs') -> bool | None:
        """Whether the means ± standard deviations overlap; None where there is a single run."""
        if self.std is None or other.std is None:
            return None
        return abs(self.mean - other.mean) <= self.std + other.std


@dataclass(frozen=True)
class Results:
    """What the results files of a demo say.

    Args:
        table (Mapping[str, Mapping[str, Runs | None]]): Method to column to runs; None where it was not run.
        teacher (Mapping[str, float]): The teacher's own scores; empty where there are none.
        seeds (tuple[int, ...]): All that the files name.
        versions (Mapping[str, tuple[str, ...]]): Package to all versions that the files name.
    """

    table: Mapping[str, Mapping[str, Runs | None]]
    teacher: Mapping[str, float]
    seeds: tuple[int, ...]
    versions: Mapping[str, tuple[str, ...]]

    def gain(self, record: DemoRecord, method: str, column: Column) -> float | None:
        """How much better a mean is than the baseline's; None if one of them is missing or neither end is better."""
        found, baseline = self.table[method][column.key], self.table[record.baseline][column.key]
        if found is None or baseline is None or column.higher_is_better is None:
            return None
        return (found.mean - baseline.mean) * (1 if column.higher_is_better else -1)

    def best(self, column: Column) -> list[str]:
        """Names of the methods with the best mean; none if there is nothing to compare."""
        means = {name: row[column.key].mean for name, row in self.table.items() if row[column.key] is not None}
        if len(means) < 2 or column.higher_is_better is None:
            return []
        top = max(means.values()) if column.higher_is_better else min(means.values())
        return [name for name, mean in means.items() if mean == top]


def read_results(folder: Path, record: DemoRecord) -> Results:
    """Read every results file that a record names.

    Args:
        folder (Path): That the names are relative to.
        record (DemoRecord): Of the demo.

    Returns:
        Results: The numbers.

    Raises:
        InputError: If a file is missing or damaged or lacks its metric, or is of simulated data in a record that says
            otherwise.
    """
    files = [file for method in record.methods for found in method.results.values() for file in found or ()]
    contents = {file: read_object(folder / file) for file in files}
    made_from = [content.get('made_from', {}) for content in contents.values()]
    for file, made in zip(contents, made_from):
        if made.get('simulated') and not record.simulated:
            raise InputError(
                f'{folder / file}, scored on simulated data, in a demo that is said not to be simulated',
                '"simulated": true in demo.json',
                'simulated numbers must be told apart from real ones',
            )
    table = {
        method.name: {
            column.key: _runs(folder, contents, method.results[column.key], column.metric) for column in record.columns
        }
        for method in record.methods
    }
    versions: dict[str, set[str]] = {}
    for made in made_from:
        for name, version in made.get('versions', {}).items():
            versions.setdefault(name, set()).add(version)
    return Results(
        table,
        _scores(read_object(folder / record.teacher.numbers)) if record.teacher.numbers else {},
        tuple(sorted({made['seed'] for made in made_from if made.get('seed') is not None})),
        {name: tuple(sorted(found)) for name, found in sorted(versions.items())},
    )


def demo_numbers(record: DemoRecord, results: Results) -> dict[str, float | int | list[float] | None]:
    """The table and the teacher's scores as flat names, for ``report.json``.

    Args:
        record (DemoRecord): Of the demo.
        results (Results): Its numbers.

    Returns:
        dict[str, float | int | list[float] | None]: ``METHOD/COLUMN/mean``, ``std``, ``n``, ``gain`` (over the
        baseline, positive if better) and ``runs``, in the metric's own unit; null where there is none.
    """
    numbers: dict[str, float | int | list[float] | None] = {}
    for method in record.methods:
        for column in record.columns:
            found = results.table[method.name][column.key]
            numbers |= {
                f'{method.name}/{column.key}/mean': found and found.mean,
                f'{method.name}/{column.key}/std': found and found.std,
                f'{method.name}/{column.key}/n': len(found.values) if found else 0,
                f'{method.name}/{column.key}/gain': results.gain(record, method.name, column),
                f'{method.name}/{column.key}/runs': list(found.values) if found else [],
            }
    return numbers | {f'teacher/{name}': value for name, value in results.teacher.items()}


def _runs(folder: Path, contents: Mapping[str, dict], files: list[str] | None, metric: str) -> Runs | None:
    return Runs(tuple(_value(folder / file, contents[file], metric) for file in files)) if files else None


def _value(path: Path, content: dict, metric: str) -> float:
    scores = _scores(content)
    if metric not in content:
        raise InputError(f'{path} without {metric}', f'one of {", ".join(scores)}', 'correct "metric" in demo.json')
    if metric not in scores:
        raise InputError(
            f'{path} with {metric} = {content[metric]!r}',
            'a number',
            'no object or point of the class in the data? Give null in demo.json, or another metric',
        )
    return scores[metric]


def _scores(content: dict) -> dict[str, float]:
    return {name: value for name, value in content.items() if isinstance(value, int | float)}
