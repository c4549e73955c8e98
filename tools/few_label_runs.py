"""Train and test on several draws of the labels: mean and standard deviation, beside the random start.

python tools/few_label_runs.py CONFIG --splits LIST [LIST ...] [--seeds 0 1] [--checkpoint STUDENT] [--against-random]
                               --work-dir DIR [--method NAME] [--metrics PATTERN ...] [--gpus N]
                               [--cfg-options KEY=VALUE ...]

CONFIG is of segmentation or of detection. Each LIST (a file of tools/splits.py of one percentage, or `all` for the
whole training set) is run with each seed: from the exported STUDENT, and with --against-random from random weights,
too. What is scored is the last epoch, never the best one.

DIR/METHOD_LIST_seedN.py is a run's whole config, .log its output, and the folder of that name its work dir. Runs go one
after the other. The same command again skips what is done and goes on where a run was interrupted; a run that
failed is told at the end, and does not stop the others.

Writes DIR/few_label_runs.json and prints DIR/few_label_runs.md: per metric the mean and the standard deviation (n - 1)
over the draws. --metrics 'kitti/mean/3d/*' 'seg/miou' shortens the table, not the JSON.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from statistics import fmean, stdev
from typing import IO

from mmengine.config import Config
from mmengine.registry import init_default_scope
from tqdm import tqdm

from _packaged import ConfigOptions, clear_errors
from _transfer_runs import TransferRun, check_evaluates, configured, locked, student_key
from cleverdistiller.datasets.frame_list import FrameList
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import read_state_dict, replace_when_complete
from cleverdistiller.provenance import versions, write_results

RANDOM, WHOLE_SET = 'random', 'all'


def plan(args: argparse.Namespace) -> dict[str, list[TransferRun]]:
    """Every run, by method, after a look at everything that they need.

    Raises:
        InputError: If the config scores nothing, a list or the student is missing or damaged, the lists are of several
            percentages, or nothing is to be run.
    """
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    check_evaluates(cfg, args.config)
    percents = {FrameList.read(path).percent if path != WHOLE_SET else '100' for path in args.splits}
    if len(percents) > 1:
        raise InputError(
            f'lists of {", ".join(sorted(percents, key=float))} %',
            'lists of one percentage',
            'start a command for each',
        )
    if args.checkpoint is None and not args.against_random:
        raise InputError('neither --checkpoint nor --against-random', 'a start to train from', 'give one, or both')
    if args.method == RANDOM:
        raise InputError(f'--method {RANDOM}', 'another name', f'{RANDOM} is what --against-random is called')
    if args.checkpoint is not None:
        read_state_dict(args.checkpoint)
        if student_key(cfg) is None:
            raise InputError(
                f'{args.config}, whose model takes no student',
                'a model with student_weights',
                'leave --checkpoint out and give --against-random',
            )
    starts = {args.method: args.checkpoint} if args.checkpoint is not None else {}
    starts |= {RANDOM: None} if args.against_random else {}
    runs = {
        method: [
            TransferRun(
                f'{method}_{Path(frame_list).stem}_seed{seed}',
                configured(cfg, None if frame_list == WHOLE_SET else frame_list, seed, weights),
                args.work_dir,
            )
            for frame_list in args.splits
            for seed in args.seeds
        ]
        for method, weights in starts.items()
    }
    names = [run.name for group in runs.values() for run in group]
    if len(set(names)) < len(names):
        raise InputError(f'{len(names)} runs with {len(set(names))} names', 'lists and seeds that differ', 'rename one')
    return runs


def perform(runs: Sequence[TransferRun], lock: IO, gpus: int) -> dict[str, str]:
    """Do one run after the other.

    Args:
        runs (Sequence[TransferRun]): All of them, done or not.
        lock (IO): Of their folder.
        gpus (int): See :meth:`TransferRun.perform`.

    Returns:
        dict[str, str]: Name of each run that failed to the reason.
    """

    def look() -> None:
        bar.n = sum(run.done for run in runs)
        bar.refresh()

    failures = {}
    length, done = sum(run.length for run in runs), sum(run.done for run in runs)
    with tqdm(total=length, initial=done, unit=f' {runs[0].unit}s', dynamic_ncols=True) as bar:
        for run in runs:
            bar.set_description(run.name)
            if reason := run.perform(look, lock, gpus):
                failures[run.name] = reason
            look()
    return failures


def summarise(runs: Mapping[str, Sequence[TransferRun]]) -> dict[str, dict[str, tuple[float, float | None, int]]]:
    """Mean, standard deviation and number of draws of each metric, by method.

    Args:
        runs (Mapping[str, Sequence[TransferRun]]): Finished runs, by method.

    Returns:
        dict[str, dict[str, tuple[float, float | None, int]]]: Method to metric to (mean, n - 1 standard deviation, n);
        one draw has no deviation.
    """
    summary = {}
    for method, group in runs.items():
        draws: dict[str, list[float]] = {}
        for run in group:
            for metric, value in run.numbers().items():
                draws.setdefault(metric, []).append(value)
        summary[method] = {
            metric: (fmean(values), stdev(values) if len(values) > 1 else None, len(values))
            for metric, values in draws.items()
        }
    return summary


def table(summary: Mapping[str, Mapping[str, tuple]], planned: int, patterns: Sequence[str]) -> str:
    """A Markdown table, a row for each metric and a column for each method.

    Args:
        summary (Mapping[str, Mapping[str, tuple]]): Of :func:`summarise`.
        planned (int): Runs that each method should have had.
        patterns (Sequence[str]): Of the metrics to show.

    Returns:
        str: Each cell ``mean ± deviation (n)``, where n, the number of draws, is told if it is not ``planned``.

    Raises:
        InputError: If no metric matches.
    """

    def cell(found: tuple[float, float | None, int] | None) -> str:
        if found is None:
            return 'missing'
        mean, deviation, count = found
        spread = '' if deviation is None else f' ± {deviation:.4f}'
        return f'{mean:.4f}{spread}' + ('' if count == planned else f' (n={count})')

    metrics = dict.fromkeys(metric for numbers in summary.values() for metric in numbers)
    shown = [metric for metric in metrics if any(fnmatch(metric, pattern) for pattern in patterns)]
    if metrics and not shown:
        raise InputError(
            f'--metrics {" ".join(patterns)}',
            f'patterns of {", ".join(metrics)}',
            'give the command again: what has run is kept',
        )
    rows = [[metric, *(cell(numbers.get(metric)) for numbers in summary.values())] for metric in shown]
    rows = [[f'n = {planned}', *summary], ['---', *('---:' for _ in summary)], *rows]
    return ''.join(f'| {" | ".join(row)} |\n' for row in rows)


def report(args: argparse.Namespace, runs: Mapping[str, Sequence[TransferRun]], failures: Mapping[str, str]) -> str:
    """Write the JSON and the Markdown file.

    Args:
        args (argparse.Namespace): Of the command.
        runs (Mapping[str, Sequence[TransferRun]]): All runs, by method.
        failures (Mapping[str, str]): Of :func:`perform`.

    Returns:
        str: The Markdown text.
    """
    finished = {method: [run for run in group if run.name not in failures] for method, group in runs.items()}
    summary = summarise(finished)
    numbers = {
        f'{method}/{metric}/{name}': math.nan if value is None else value
        for method, found in summary.items()
        for metric, values in found.items()
        for name, value in zip(('mean', 'std', 'n'), values)
    }
    made_from = dict(
        config=args.config,
        cfg_options=args.cfg_options,
        checkpoint=args.checkpoint,
        splits=args.splits,
        seeds=args.seeds,
        runs={method: [str(run.results_file) for run in group] for method, group in finished.items()},
        failures=dict(failures),
        versions=versions(),
    )
    simulated = any(run.is_simulated() for group in finished.values() for run in group)
    if simulated:
        made_from['simulated'] = True
    write_results(args.work_dir / 'few_label_runs.json', numbers, made_from)
    planned = len(args.splits) * len(args.seeds)
    lines = [
        f'{args.config}, last epoch, mean ± standard deviation (n - 1) over {len(args.splits)} lists x '
        f'{len(args.seeds)} seeds',
        *(['SIMULATED data: says nothing about real roads'] if simulated else []),
        *(f'failed: {name} ({reason}; see {args.work_dir / name}.log)' for name, reason in failures.items()),
    ]
    text = '\n\n'.join([*lines, table(summary, planned, args.metrics)])
    with replace_when_complete(args.work_dir / 'few_label_runs.md') as temporary:
        temporary.write_text(text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--splits', nargs='+', required=True, metavar='LIST', help=f'frame lists, or {WHOLE_SET}')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--checkpoint', metavar='STUDENT', help='an exported student')
    parser.add_argument('--against-random', action='store_true', help='the same runs from random weights, too')
    parser.add_argument('--work-dir', type=Path, required=True, metavar='DIR')
    parser.add_argument('--method', default='student', help="what the student's column and runs are called")
    parser.add_argument('--metrics', nargs='+', default=['*'], metavar='PATTERN', help='rows of the table')
    parser.add_argument('--gpus', type=int, default=0, help='of this machine for each run, through torchrun')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, default={})
    args = parser.parse_args()
    with clear_errors():
        runs = plan(args)
        every = [run for group in runs.values() for run in group]
        with locked(args.work_dir) as lock:
            for run in every:
                run.publish_config()
            failures = perform(every, lock, args.gpus)
            print(report(args, runs, failures))
    if failures:
        sys.exit(f'error: {len(failures)} of {len(every)} runs failed; the same command tries them again')


if __name__ == '__main__':
    main()
