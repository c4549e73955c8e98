"""Whether methods come out in the order that was asked for, on average and seed by seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cleverdistiller.visualization.demo_report.results import Runs
from cleverdistiller.visualization.study_report.record import Column, StudyRecord
from cleverdistiller.visualization.study_report.results import MISSING, StudyResults, shown
from cleverdistiller.visualization.study_report.tables import escape_markdown, markdown_rows


@dataclass(frozen=True)
class Step:
    """Two methods that follow each other in an order, compared seed by seed.

    Args:
        differences (Runs): Of each seed that both have, the later method's value less the earlier one's.
        held (int): In how many of them the later one is ahead.
    """

    differences: Runs
    held: int


def ahead(difference: float, column: Column) -> bool:
    """Whether a difference goes the way that is asked for: up, or down where lower is better."""
    return difference < 0 if column.higher_is_better is False else difference > 0


def compare(results: StudyResults, before: str, after: str, column: Column) -> Step | None:
    """Compare two methods at equal seeds.

    Args:
        results (StudyResults): The numbers.
        before (str): The method that should be behind.
        after (str): The method that should be ahead.
        column (Column): What is compared.

    Returns:
        Step | None: None if no seed has both.
    """
    earlier, later = results.table[before][column.key], results.table[after][column.key]
    differences = [later[seed] - earlier[seed] for seed in sorted(earlier.keys() & later.keys())]
    if not differences:
        return None
    return Step(Runs(tuple(differences)), sum(ahead(difference, column) for difference in differences))


def holds(results: StudyResults, chain: Sequence[str], column: Column) -> bool | None:
    """Whether the means come in the order asked for.

    Args:
        results (StudyResults): The numbers.
        chain (Sequence[str]): Names of methods, the last of them the furthest ahead.
        column (Column): What is compared.

    Returns:
        bool | None: None if a method has no number.
    """
    runs = [results.runs(method, column) for method in chain]
    if None in runs:
        return None
    return all(ahead(after.mean - before.mean, column) for before, after in pairwise(runs))


def state_orders(record: StudyRecord, results: StudyResults) -> str:
    """Say for each order that was asked for whether it holds.

    Args:
        record (StudyRecord): Of the study.
        results (StudyResults): Its numbers.

    Returns:
        str: Markdown, a table for each order; empty if none was asked for.
    """
    if not record.orders:
        return ''
    says = (
        'Each method should have more than the one before it (less, where lower is better). A step: the difference '
        'at equal seeds, mean ± standard deviation, and in how many seeds it goes that way.'
    )
    tables = [_table(record, results, chain) for chain in record.orders]
    return '\n'.join(['## Do the orders hold?', '', says, *tables])


def _table(record: StudyRecord, results: StudyResults, chain: Sequence[str]) -> str:
    labels = {method.name: escape_markdown(method.label) for method in record.methods}
    steps = list(pairwise(chain))
    verdicts = {True: 'holds', False: '**does not hold**', None: MISSING}
    rows = [
        ['', 'the means', *(f'{labels[before]} to {labels[after]}' for before, after in steps)],
        ['---'] * (len(steps) + 2),
    ]
    for column in record.columns:
        lower = ' (lower is better)' if column.higher_is_better is False else ''
        cells = [_step(compare(results, *step, column), column) for step in steps]
        rows.append([escape_markdown(column.title) + lower, verdicts[holds(results, chain, column)], *cells])
    heading = ' < '.join(labels[method] for method in chain)
    return f'\n### {heading}\n\n{markdown_rows(rows)}'.rstrip()


def _step(step: Step | None, column: Column) -> str:
    if step is None:
        return MISSING
    spread = step.differences.std
    deviation = '' if spread is None else f' ± {shown(spread, column)}'
    count = len(step.differences.values)
    return f'{shown(step.differences.mean, column, sign=True)}{deviation}, {step.held} of {count} seeds'
