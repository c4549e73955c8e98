"""Two pictures of a study: RankMe against what it should foretell, and what labels bring."""

import io
import math
from collections.abc import Sequence
from itertools import pairwise
from textwrap import fill
from typing import NamedTuple

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from cleverdistiller.visualization.demo_report.results import Runs
from cleverdistiller.visualization.frame_sheet import BANNER
from cleverdistiller.visualization.study_report.record import Column, StudyRecord
from cleverdistiller.visualization.study_report.results import StudyResults

RANKME = 'rank/rankme'
QUANTITIES = {'seg/miou': 'mIoU'}
WARNING = '#b26a00'
STYLE = {
    'text.parse_math': False,
    'font.size': 9,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': '#e4e6ea',
    'figure.dpi': 150,
}
PANEL_WIDTH_INCH, PANEL_HEIGHT_INCH, NAME_HEIGHT_INCH = 5.0, 3.4, 0.32
NAME_CHARACTERS = 24  # of a line; a longer name takes two
DODGE = 1.02  # factor between methods at one share of labels, or their error bars would lie on each other


class Point(NamedTuple):
    """A method in a panel: its RankMe along, its score up."""

    label: str
    colour: str
    x: Runs
    y: Runs


def draw_rankme(record: StudyRecord, results: StudyResults) -> bytes | None:
    """RankMe against each downstream score, as the paper's Fig. 3: a point for each method, with error bars.

    Args:
        record (StudyRecord): Of the study.
        results (StudyResults): Its numbers.

    Returns:
        bytes | None: A PNG; None if no method has both.
    """
    rank = next((column for column in record.columns if column.metric == RANKME), None)
    if rank is None:
        return None
    scores = [column for column in record.columns if column.higher_is_better is not None]
    panels = [(score, points) for score in scores if (points := _points(record, results, rank, score))]
    if not panels:
        return None
    with matplotlib.style.context(['default', STYLE]):
        figure, every = _panels(len(panels), len(record.methods), results.simulated)
        for axes, (score, points) in zip(every, panels):
            axes.set_xlabel(rank.axis_title)
            axes.set_ylabel(score.axis_title)
            for _, colour, x, y in points:
                axes.errorbar(x.mean, y.mean, y.std, x.std, 'o', color=colour, markersize=5, capsize=2)
            _name(axes, [(label, colour, x.mean, y.mean) for label, colour, x, y in points])
        return _png(figure)


def draw_labels(record: StudyRecord, results: StudyResults) -> bytes | None:
    """The share of labels against the score, a line for each method.

    Args:
        record (StudyRecord): Of the study.
        results (StudyResults): Its numbers.

    Returns:
        bytes | None: A PNG with a panel for each of :func:`columns_by_percent` that has a number; None if none has.
    """
    panels = {
        key: columns
        for key, columns in columns_by_percent(record).items()
        if any(results.runs(method.name, column) for method in record.methods for column in columns.values())
    }
    if not panels:
        return None
    with matplotlib.style.context(['default', STYLE]):
        figure, every = _panels(len(panels), len(record.methods), results.simulated)
        for axes, ((kind, metric), columns) in zip(every, panels.items()):
            ends = []
            for row, method in enumerate(record.methods):
                runs = {percent: results.runs(method.name, column) for percent, column in columns.items()}
                if not any(runs.values()):
                    continue
                shift = DODGE ** (row - (len(record.methods) - 1) / 2)
                shares = [percent * shift for percent in runs]
                means = [found.mean if found else math.nan for found in runs.values()]  # NaN: a gap in the line
                spreads = [(found and found.std) or 0 for found in runs.values()]
                axes.errorbar(shares, means, spreads, fmt='o-', color=_colour(row), markersize=4, capsize=2)
                last = max(index for index, found in enumerate(runs.values()) if found)
                ends.append((method.label, _colour(row), shares[last], means[last]))
            axes.set_xscale('log')
            axes.set_xticks(list(columns), [f'{percent:g}' for percent in columns])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel('share of labels, % (log scale)')
            axes.set_ylabel(QUANTITIES.get(metric, metric) + (' (%)' if next(iter(columns.values())).unit else ''))
            if len(panels) > 1:
                axes.set_title(kind)
            _name(axes, ends)
        return _png(figure)


def columns_by_percent(record: StudyRecord) -> dict[tuple[str, str], dict[float, Column]]:
    """Which columns differ in the share of labels alone.

    Args:
        record (StudyRecord): Of the study.

    Returns:
        dict[tuple[str, str], dict[float, Column]]: By the task's name without its share (``ft`` for ``ft_10``) and the
        metric: share to column, rising; only where there are two or more.
    """
    found: dict[tuple[str, str], dict[float, Column]] = {}
    for task in record.tasks:
        if task.percent is not None:
            kind = '_'.join(part for part in task.name.split('_') if part != f'{task.percent:g}')
            for column in task.columns:
                found.setdefault((kind, column.metric), {})[task.percent] = column
    return {key: dict(sorted(columns.items())) for key, columns in found.items() if len(columns) > 1}


def _points(record: StudyRecord, results: StudyResults, rank: Column, score: Column) -> list[Point]:
    """The methods that have both numbers."""
    found = [
        Point(method.label, _colour(row), results.runs(method.name, rank), results.runs(method.name, score))
        for row, method in enumerate(record.methods)
    ]
    return [point for point in found if None not in point]


def _colour(row: int) -> str:
    """A method has one colour everywhere; the ten of matplotlib's cycle, then again."""
    return f'C{row}'


def _panels(count: int, methods: int, simulated: bool) -> tuple[Figure, list[Axes]]:
    wide = min(3, count)
    high = math.ceil(count / wide)
    height_inch = max(PANEL_HEIGHT_INCH, NAME_HEIGHT_INCH * (methods + 2))
    figure = Figure(figsize=(wide * PANEL_WIDTH_INCH, high * height_inch), layout='constrained')
    if simulated:
        figure.suptitle(fill(BANNER, 55 * wide), fontsize=10, fontweight='bold', color=WARNING)
    return figure, [figure.add_subplot(high, wide, index + 1) for index in range(count)]


def _name(axes: Axes, ends: Sequence[tuple[str, str, float, float]]) -> None:
    """Write names in a column on the right, each with a line to its point: they never lie on one another.

    Args:
        axes (Axes): With all points in it.
        ends (Sequence[tuple[str, str, float, float]]): Name, colour, x and y of each point.
    """
    axes.set_ylim(axes.get_ylim())  # or the names could move it
    bottom, top = axes.get_ylim()
    rows = spread_apart([(y - bottom) / (top - bottom) for *_, y in ends], gap=1 / max(len(ends), 9))
    for (name, colour, x, y), row in zip(ends, rows):
        axes.annotate(
            fill(name, NAME_CHARACTERS),
            (x, y),
            (1.04, row),
            textcoords='axes fraction',
            va='center',
            fontsize=8,
            color=colour,
            arrowprops=dict(arrowstyle='-', color=colour, linewidth=0.6, alpha=0.6, shrinkB=4, relpos=(0, 0.5)),
        )


def spread_apart(values: Sequence[float], gap: float) -> list[float]:
    """Move values in 0..1 so that they keep their order, and a distance.

    Args:
        values (Sequence[float]): At most ``1 + 1 / gap``.
        gap (float): The least distance.

    Returns:
        list[float]: The moved values, in the order of ``values``.
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    moved = list(values)
    for below, above in pairwise(order):
        moved[above] = max(moved[above], moved[below] + gap)
    highest = 1.0
    for index in reversed(order):
        moved[index] = min(moved[index], highest)
        highest = moved[index] - gap
    return moved


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', metadata=dict(Software=None))  # else it names matplotlib's version
    return buffer.getvalue()
