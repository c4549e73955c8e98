"""The table of a study in Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

from cleverdistiller.visualization.frame_sheet import BANNER
from cleverdistiller.visualization.study_report.record import Column, Method, StudyRecord
from cleverdistiller.visualization.study_report.results import MISSING, StudyResults, shown

PAPERS = "paper's"
TEX = str.maketrans(
    {
        '\\': r'\textbackslash{}',
        '~': r'\textasciitilde{}',
        '^': r'\textasciicircum{}',
        '<': r'\textless{}',
        '>': r'\textgreater{}',
        '|': r'\textbar{}',
        **{character: f'\\{character}' for character in '&%$#_{}'},
    }
)


class Entry(NamedTuple):
    """What stands in one place of the table, as texts; the empty ones are left out."""

    mean: str = ''
    spread: str = ''
    count: str = ''
    best: bool = False


def markdown_table(record: StudyRecord, results: StudyResults) -> str:
    """A row for each method, a column for each number, the paper's beside ours.

    Args:
        record (StudyRecord): Of the study.
        results (StudyResults): Its numbers.

    Returns:
        str: A Markdown table; ``mean ± standard deviation (n=count)``, the count only where it is not the planned one.
    """

    def text(entry: Entry) -> str:
        mean = f'**{entry.mean}**' if entry.best else entry.mean
        return mean + (f' ± {entry.spread}' if entry.spread else '') + (f' (n={entry.count})' if entry.count else '')

    headings, rows = _entries(record, results)
    return markdown_rows(
        [
            ['method', *map(escape_markdown, headings)],
            ['---', *('---:' for _ in headings)],
            *([escape_markdown(label), *map(text, entries)] for label, entries in rows),
        ]
    )


def latex_table(record: StudyRecord, results: StudyResults) -> str:
    r"""The same as a ``tabular`` for a document with ``\usepackage{booktabs}``.

    Args:
        record (StudyRecord): Of the study.
        results (StudyResults): Its numbers.

    Returns:
        str: LaTeX.
    """

    def text(entry: Entry) -> str:
        mean = rf'\textbf{{{entry.mean}}}' if entry.best else entry.mean
        spread = rf' $\pm$ {entry.spread}' if entry.spread else ''
        return mean + spread + (f' ($n={entry.count}$)' if entry.count else '')

    headings, rows = _entries(record, results)
    banner = [rf'\multicolumn{{{len(headings) + 1}}}{{c}}{{\textbf{{{escape_latex(BANNER)}}}}} \\']
    lines = [
        rf'\begin{{tabular}}{{l{"r" * len(headings)}}} % needs \usepackage{{booktabs}}',
        *(banner if results.simulated else []),
        r'\toprule',
        ' & '.join(['method', *map(escape_latex, headings)]) + r' \\',
        r'\midrule',
        *(' & '.join([escape_latex(label), *map(text, entries)]) + r' \\' for label, entries in rows),
        r'\bottomrule',
        r'\end{tabular}',
    ]
    return '\n'.join(lines) + '\n'


def csv_table(record: StudyRecord, results: StudyResults) -> str:
    """A line for each method and column, in the unit of the column and not rounded as the other tables are.

    Args:
        record (StudyRecord): Of the study.
        results (StudyResults): Its numbers.

    Returns:
        str: Comma-separated values, under a line of their names; of simulated data, that after a comment.
    """
    text = io.StringIO(f'# {BANNER}\n' if results.simulated else '')
    text.seek(0, io.SEEK_END)
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['method', 'label', 'column', 'title', 'unit', 'mean', 'std', 'seeds', 'seeds planned', PAPERS])
    for method in record.methods:
        for column in record.columns:
            runs = results.runs(method.name, column)
            numbers = [f'{runs.mean:.6g}', '' if runs.std is None else f'{runs.std:.6g}'] if runs else [MISSING, '']
            names = [method.name, method.label, column.key, column.title, column.unit]
            counts = [len(runs.values) if runs else 0, len(record.seeds)]
            writer.writerow([*names, *numbers, *counts, method.paper.get(column.key, '')])
    return text.getvalue()


def markdown_rows(rows: Sequence[Sequence[str]]) -> str:
    """The lines of a Markdown table."""
    return ''.join(f'| {" | ".join(row)} |\n' for row in rows)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, in a table too."""
    return re.sub(r'([\\|*_`<\[\]])', r'\\\1', text)


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return text.translate(TEX)


def _entries(record: StudyRecord, results: StudyResults) -> tuple[list[str], list[tuple[str, list[Entry]]]]:
    """The headings, and each method's label with what stands under them."""
    columns = [(column, _papers(record, column)) for column in record.columns]
    best = {column.key: results.best(column) for column in record.columns}
    headings, rows = [], [(method.label, []) for method in record.methods]
    for column, papers in columns:
        headings += [column.title, *([PAPERS] if papers else [])]
        for method, (_, entries) in zip(record.methods, rows):
            entries.append(_entry(record, results, method, column, method.name in best[column.key]))
            if papers:
                entries.append(Entry(papers.get(method.name, '')))
    return headings, rows


def _entry(record: StudyRecord, results: StudyResults, method: Method, column: Column, best: bool) -> Entry:
    runs = results.runs(method.name, column)
    if runs is None:
        return Entry(MISSING)
    count = len(runs.values)
    return Entry(
        shown(runs.mean, column),
        '' if runs.std is None else shown(runs.std, column),
        '' if count == len(record.seeds) else str(count),
        best,
    )


def _papers(record: StudyRecord, column: Column) -> dict[str, str]:
    """The paper's numbers by method, with as many digits as the longest of them has."""
    found = {method.name: method.paper[column.key] for method in record.methods if column.key in method.paper}
    digits = max((len(f'{value:g}'.partition('.')[2]) for value in found.values()), default=0)
    return {method: f'{value:.{digits}f}' for method, value in found.items()}
