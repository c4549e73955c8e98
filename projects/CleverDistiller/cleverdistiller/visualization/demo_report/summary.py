"""What the numbers of a demo say, in words that are right however they came out."""

from cleverdistiller.visualization.demo_report.record import Column, DemoRecord
from cleverdistiller.visualization.demo_report.results import Results, Runs

OVERLAP = 'the spreads overlap, so it may be chance'
CLEAR = 'the spreads do not overlap'
UNKNOWN = 'how much it varies between runs is not known'


def number(value: float, column: Column, sign: bool = False) -> str:
    """A value in the unit of its column, without the unit: to 0.1 for percents, to three digits otherwise."""
    shown = 100 * value if column.unit == '%' else value
    digits = 1 if column.unit == '%' or abs(shown) >= 10 else 2 if abs(shown) >= 1 else 3
    return f'{shown:+.{digits}f}' if sign else f'{shown:.{digits}f}'


def summarise(record: DemoRecord, results: Results) -> dict[str, str]:
    """A sentence or two for each column in which one end is better.

    Args:
        record (DemoRecord): Of the demo.
        results (Results): Its numbers.

    Returns:
        dict[str, str]: A column's title to the main method against the baseline, then the others against it.
    """
    return {
        column.title: _of_column(record, results, column)
        for column in record.columns
        if column.higher_is_better is not None
    }


def answer(record: DemoRecord, results: Results) -> str:
    """In how many columns the main method beats the baseline, and by more than the spread.

    Args:
        record (DemoRecord): Of the demo.
        results (Results): Its numbers.

    Returns:
        str: A sentence; empty if there is nothing to compare.
    """
    gains = {column: results.gain(record, record.main, column) for column in record.columns}
    compared = {column.key: _as_shown(gain, column) for column, gain in gains.items() if gain is not None}
    if record.main == record.baseline or not compared:
        return ''
    better = [key for key, gain in compared.items() if gain > 0]
    main, baseline = results.table[record.main], results.table[record.baseline]
    clear = [key for key in better if main[key].overlaps(baseline[key]) is False]
    return f'Here, on average, it does in {len(better)} of {len(compared)} tasks' + (
        f', in {len(clear)} of them clearly: beyond the spread between runs.' if better else '.'
    )


def _of_column(record: DemoRecord, results: Results, column: Column) -> str:
    labels = {method.name: method.label for method in record.methods}
    baseline, main = results.table[record.baseline][column.key], results.table[record.main][column.key]
    unrun = [labels[name] for name, runs in ((record.main, main), (record.baseline, baseline)) if runs is None]
    if unrun:
        return f'{" and ".join(unrun)} {"was" if len(unrun) == 1 else "were"} not run; nothing to compare.'
    if record.main == record.baseline:
        return f'{labels[record.main]} reaches {_with_unit(main.mean, column)}.'
    gain = results.gain(record, record.main, column)
    against = (
        f'({number(main.mean, column)} against {number(baseline.mean, column)}, '
        f'{_count(main, baseline)}; {_spread(main, baseline)})'
    )
    sentence = f'{labels[record.main]} {_verdict(gain, labels[record.baseline], column)} {against}.'
    others = [
        f'{labels[method.name]} {number(results.gain(record, method.name, column), column, sign=True)}'
        + (' (overlapping)' if results.table[method.name][column.key].overlaps(baseline) else '')
        for method in record.methods
        if method.name not in (record.baseline, record.main) and results.table[method.name][column.key] is not None
    ]
    return sentence + (f' The others against {labels[record.baseline]}: {", ".join(others)}.' if others else '')


def _verdict(gain: float, baseline: str, column: Column) -> str:
    amount = _with_unit(abs(gain), column)
    if _as_shown(gain, column) == 0:
        return f'does not beat {baseline}: they are level'
    return f'beats {baseline} by {amount}' if gain > 0 else f'does not beat {baseline}: it is worse by {amount}'


def _as_shown(gain: float, column: Column) -> float:
    """A gain that is too small to be shown is none."""
    return float(number(gain, column))


def _with_unit(value: float, column: Column) -> str:
    return f'{number(value, column)} {column.quantity}' + (' points' if column.unit == '%' else '')


def _count(main: Runs, baseline: Runs) -> str:
    counts = len(main.values), len(baseline.values)
    if counts == (1, 1):
        return 'one run each'
    return f'means of {counts[0]} runs each' if counts[0] == counts[1] else f'means of {counts[0]} and {counts[1]} runs'


def _spread(main: Runs, baseline: Runs) -> str:
    overlap = main.overlaps(baseline)
    return UNKNOWN if overlap is None else OVERLAP if overlap else CLEAR
