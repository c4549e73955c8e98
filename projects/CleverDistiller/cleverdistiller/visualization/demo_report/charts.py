"""Charts as inline SVG: they take the page's colours, in light and in dark."""

import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy.ndimage import gaussian_filter1d

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import visible_paths
from cleverdistiller.visualization.demo_report.record import Column, Curve, DemoRecord
from cleverdistiller.visualization.demo_report.results import Results
from cleverdistiller.visualization.demo_report.summary import number

# Stand-ins that no chart uses otherwise; the page's style sheet says what each is.
INK, FAINT = '#010203', '#010204'
SERIES = tuple(f'#0102{10 + index}' for index in range(8))
STYLE = {
    'svg.fonttype': 'none',
    'text.parse_math': False,
    'font.size': 10,
    **{name: INK for name in ('text.color', 'axes.labelcolor', 'xtick.color', 'ytick.color')},
    'axes.edgecolor': FAINT,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'legend.frameon': False,
}
SMOOTHED_OVER = 0.03  # of a curve's length: standard deviation of the smoothing


def draw_dots(record: DemoRecord, results: Results, column: Column) -> str:
    """One column of the table: a bar from zero to each mean, and a dot for each run.

    Args:
        record (DemoRecord): Of the demo.
        results (Results): Its numbers.
        column (Column): The column.

    Returns:
        str: An ``<svg>`` element.
    """
    scale = 100 if column.unit == '%' else 1
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 0.7 + 0.4 * len(record.methods)), layout='constrained')
        axes = figure.add_subplot()
        for row, method in enumerate(record.methods):
            runs = results.table[method.name][column.key]
            if runs is None:
                axes.annotate('not run', (0, row), (4, 0), textcoords='offset points', va='center', color=FAINT)
                continue
            axes.barh(row, scale * runs.mean, height=0.62, color=_colour(row), alpha=0.35, linewidth=0)
            axes.plot(scale * np.array(runs.values), [row] * len(runs.values), 'o', color=_colour(row), markersize=5)
            top = max(0.0, scale * max(runs.values))
            axes.annotate(number(runs.mean, column), (top, row), (7, 0), textcoords='offset points', va='center')
        axes.set_yticks(range(len(record.methods)), [fill(method.label, 22) for method in record.methods])
        axes.tick_params(axis='y', length=0)
        axes.set_ylim(len(record.methods) - 0.5, -0.5)
        axes.set_xmargin(0.14)  # room for the last number
        axes.set_xlabel(f'{column.quantity}, %' if column.unit else column.quantity)
        return _svg(figure, f'dots {column.key}')


def draw_curves(folder: Path, record: DemoRecord, panel: str) -> str:
    """The loss terms of one panel over the training steps, as they are (faint) and smoothed.

    Args:
        folder (Path): That the files are relative to.
        record (DemoRecord): Of the demo.
        panel (str): Name of the panel.

    Returns:
        str: An ``<svg>`` element.

    Raises:
        InputError: See :func:`read_curve`.
    """
    curves = [curve for curve in record.curves if curve.panel == panel]
    methods = {method.name: method.label for method in record.methods}
    keys = list(dict.fromkeys(key for curve in curves for key in curve.keys))
    rows = list(dict.fromkeys([*methods, *(curve.label for curve in curves)]))  # a method has one colour everywhere
    positive = True
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.4, 3.3), layout='constrained')
        axes = figure.add_subplot()
        for curve in curves:
            colour, label = _colour(rows.index(curve.label)), methods.get(curve.label, curve.label)
            for key, (steps, values) in read_curve(folder, curve).items():
                style = ('-', '--', ':', '-.')[keys.index(key) % 4]
                positive &= bool((values > 0).all())
                axes.plot(steps, values, style, color=colour, alpha=0.25, linewidth=0.8)
                named = label if len(keys) == 1 else f'{label}, {key}'
                axes.plot(steps, smoothed(values), style, color=colour, linewidth=1.8, label=named)
        axes.set_xlabel('training step')
        axes.set_ylabel((keys[0] if len(keys) == 1 else 'loss') + (' (log scale)' if positive else ''))
        if positive:
            _log_scale(axes)
        axes.grid(color=FAINT, alpha=0.3, linewidth=0.6)
        axes.legend(fontsize=9)
        return _svg(figure, f'curves {panel}')


def read_curve(folder: Path, curve: Curve) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Terms of a training's log; of a step that was trained again after an interruption, the last value counts.

    Args:
        folder (Path): That the file is relative to.
        curve (Curve): The files and the terms.

    Returns:
        dict[str, tuple[np.ndarray, np.ndarray]]: Term to (n,) steps and (n,) values.

    Raises:
        InputError: If no file is there, a line is no JSON object, or a term is missing or not finite.
    """
    paths = visible_paths(folder, curve.file_glob)  # mmengine's folders are named by time
    if not paths:
        raise InputError(f'no {folder / curve.file_glob}', 'the log of a training', 'start `make demo` again')
    rows = [row for path in paths for row in _lines(path)]
    found = {}
    for key in curve.keys:
        values: Mapping[int, float] = {row['step']: row[key] for row in rows if key in row}
        if not values:
            told = sorted({name for row in rows for name in row if 'loss' in name})
            raise InputError(f'{paths[0]} without {key}', f'one of {", ".join(told)}', 'correct "keys" in demo.json')
        broken = [step for step, value in values.items() if not math.isfinite(value)]
        if broken:
            raise InputError(
                f'{paths[0]} with {key} = {values[broken[0]]} at step {broken[0]}',
                'finite losses',
                'the training diverged: lower its learning rate',
            )
        steps = sorted(values)
        found[key] = np.array(steps), np.array([values[step] for step in steps])
    return found


def smoothed(values: np.ndarray) -> np.ndarray:
    """A moving mean: geometric where all values are positive, as they are drawn on a logarithmic scale."""
    width = SMOOTHED_OVER * len(values)
    if (values > 0).all():
        return np.exp(gaussian_filter1d(np.log(values), width, mode='nearest'))
    return gaussian_filter1d(values, width, mode='nearest')


def _lines(path: Path) -> Sequence[dict]:
    complete = path.read_text().rpartition('\n')[0]  # a killed training may end within a line
    try:
        return [json.loads(line) for line in complete.splitlines()]
    except ValueError as error:
        raise InputError(
            f'{path}, which is not JSON in each line ({error})', 'a log of mmengine', 'train anew'
        ) from error


def _log_scale(axes: Axes) -> None:
    axes.set_yscale('log')
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _colour(index: int) -> str:
    return SERIES[index % len(SERIES)]


def _svg(figure: Figure, name: str) -> str:
    """The figure's ``<svg>`` with the stand-in colours as variables of the page."""
    buffer = io.StringIO()
    with matplotlib.rc_context({'svg.hashsalt': name}):  # ids that are the same in every run, and unlike in each chart
        figure.savefig(
            buffer, format='svg', transparent=True, metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
        )
    text = buffer.getvalue()
    text = re.sub(r'<g id="[^"]*"', '<g', text[text.index('<svg') :])
    for colour, variable in ((INK, 'ink'), (FAINT, 'faint'), *((c, f'series-{i}') for i, c in enumerate(SERIES))):
        text = text.replace(colour, f'var(--{variable})')
    return text
