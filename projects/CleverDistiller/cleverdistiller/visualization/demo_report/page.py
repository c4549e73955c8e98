"""The page that a demo ends with: one file that opens without a network."""

import platform
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cleverdistiller.provenance import versions
from cleverdistiller.visualization.demo_report.charts import draw_curves, draw_dots
from cleverdistiller.visualization.demo_report.pictures import embed_pictures
from cleverdistiller.visualization.demo_report.record import DemoRecord, Stage
from cleverdistiller.visualization.demo_report.results import Results
from cleverdistiller.visualization.demo_report.summary import answer, number, summarise


def demo_page(folder: Path, record: DemoRecord, results: Results) -> str:
    """Draw the page.

    Args:
        folder (Path): That the names in the record are relative to.
        record (DemoRecord): Of the demo.
        results (Results): Its numbers.

    Returns:
        str: HTML with its styles, scripts and pictures inside.

    Raises:
        InputError: If a log or a picture is missing or damaged.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    panels = dict.fromkeys(curve.panel for curve in record.curves)
    pictures = embed_pictures([folder / picture.file for picture in record.pictures])
    return templates.get_template('page.html.j2').render(
        record=record,
        results=results,
        labels={method.name: method.label for method in record.methods},
        noted=[column for column in record.columns if column.note],
        answer=answer(record, results),
        sentences=summarise(record, results),
        number=number,
        sentence_case=lambda text: text[:1].upper() + text[1:],
        duration=duration,
        dots={column.key: Markup(draw_dots(record, results, column)) for column in record.columns},
        curves={panel: Markup(draw_curves(folder, record, panel)) for panel in panels},
        pictures=list(zip(record.pictures, pictures)),
        bars=_shares(record.stages),
        versions=_versions(results),
        some_repeated=any(runs and len(runs.values) > 1 for row in results.table.values() for runs in row.values()),
    )


def duration(seconds: float) -> str:
    """Such as ``8.4 s``, ``3 min 05 s`` or ``1 h 02 min``."""
    if seconds < 59.95:
        return f'{seconds:.1f} s'
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest:02d} s' if minutes < 60 else f'{minutes // 60} h {minutes % 60:02d} min'


def _shares(stages: Sequence[Stage]) -> list[float]:
    """Percent of the longest stage, for the bars."""
    longest = max((stage.seconds or 0 for stage in stages), default=0)
    return [100 * (stage.seconds or 0) / longest if longest else 0 for stage in stages]


def _versions(results: Results) -> dict[str, str]:
    """Python's and the packages' versions: those that the results name, else those that draw the page."""
    named = {name: ' and '.join(found) for name, found in results.versions.items()}
    return dict(Python=platform.python_version()) | versions() | named
