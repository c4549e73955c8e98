"""Time and memory of every step of the training pipeline, for one sample of one worker (one thread).

python benchmarks/data_pipeline.py [CONFIG] [--baseline DIR] [--repeats 20]

Without CONFIG: the whole nuScenes pipeline (six cameras, 2,048 queries, augmentation) on the real keyframe, where
configs/pretrain/keyframe.py finds it, and on made-up frames; with one: its training set as it stands. Prints one JSON
line: median milliseconds of processor time and peak memory of each step and of a sample, and how much a worker hands
over for it. Processor time is what bounds several workers; waiting for a disk is not in it.

DIR is another checkout of this repository, say of an older commit (git worktree add DIR COMMIT). The same samples then
go through its package and its configs too, taking turns, and `ratio` is this one's time over its.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from _made_up_frames import write_frames
from _peak_memory import peak_memory

REPO = Path(__file__).resolve().parent.parent
WHOLE = 'configs/_base_/datasets/nuscenes_distill.py'
KEYFRAME = 'configs/pretrain/keyframe.py'
MADE_UP_FRAMES = 4


class Checkout:
    """A checkout's package in a process of its own, which answers when asked.

    Args:
        repo (Path): The checkout.
        config (str | None): Whose training set; None for the keyframe and the made-up frames.
        made_up (dict): What a dataset's config says of the made-up frames.

    Attributes:
        subjects (list[str]): What there is to be asked about.
    """

    def __init__(self, repo: Path, config: str | None, made_up: dict) -> None:
        path = os.pathsep.join([str(repo / 'projects/CleverDistiller'), os.environ.get('PYTHONPATH', '')])
        self.process = subprocess.Popen(
            [sys.executable, __file__, '--answer', json.dumps([str(repo), config, made_up])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, PYTHONPATH=path),
        )

    def ask(self, *question: str | int) -> dict:
        """``milliseconds`` or ``memory`` of a subject's sample of a number."""
        self.process.stdin.write(json.dumps(question) + '\n')
        self.process.stdin.flush()
        return self.reply()

    def reply(self) -> dict:
        """The next answer; the first one names the subjects."""
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f'benchmarks/data_pipeline.py: the process of a checkout ended with {self.process.wait()}')
        return json.loads(line)

    def __enter__(self) -> 'Checkout':
        self.subjects = self.reply()
        return self

    def __exit__(self, *error) -> None:
        self.process.stdin.close()
        self.process.wait()


def answer(repo: Path, config: str | None, made_up: dict) -> None:
    """What the process of a checkout does."""
    replies, sys.stdout = sys.stdout, sys.stderr  # for whatever is logged
    import torch

    import cleverdistiller

    if not Path(cleverdistiller.__file__).is_relative_to(repo):
        sys.exit(f'got: the package of {cleverdistiller.__file__}\n  expected: that of {repo}')
    torch.set_num_threads(1)  # as in every worker of a DataLoader
    datasets = build_datasets(repo, config, made_up)
    ways = dict(milliseconds=milliseconds, memory=memory)
    print(json.dumps(list(datasets)), file=replies, flush=True)
    for line in sys.stdin:
        what, subject, number = json.loads(line)
        print(json.dumps(ways[what](datasets[subject], number)), file=replies, flush=True)


def build_datasets(repo: Path, config: str | None, made_up: dict) -> dict:
    """By subject."""
    from mmdet3d.registry import DATASETS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet3d')
    if config:
        return {config: DATASETS.build(Config.fromfile(config).train_dataloader.dataset)}
    whole = Config.fromfile(repo / WHOLE).train_dataloader.dataset
    frame = Config.fromfile(repo / KEYFRAME).train_dataloader.dataset
    datasets = {}
    if Path(frame.data_root).is_dir():
        changes = {key: frame[key] for key in ('data_root', 'ann_file', 'data_prefix')}
        datasets['keyframe'] = DATASETS.build({**whole, **changes})
    datasets['made_up'] = DATASETS.build({**whole, **made_up})
    return datasets


def steps(dataset, number: int) -> Iterator[tuple[str, Callable[[dict], dict]]]:
    """Names and calls of what makes a sample."""
    yield 'get_data_info', lambda _: dataset.get_data_info(number % len(dataset))
    for transform in dataset.pipeline.transforms:
        yield type(transform).__name__, transform


def milliseconds(dataset, number: int) -> dict[str, float]:
    """Of each step."""
    from cleverdistiller.seeding import isolated_seed

    found, results = {}, {}
    with isolated_seed(0, number):
        for name, step in steps(dataset, number):
            start = time.process_time()
            results = step(results)
            found[name] = 1000 * (time.process_time() - start)
    return found


def memory(dataset, number: int) -> dict[str, dict | float]:
    """Peak of each step above what was there before it, and what is handed over, MiB."""
    from cleverdistiller.seeding import isolated_seed

    peaks, results = {}, {}
    with isolated_seed(0, number):
        for name, step in steps(dataset, number):
            with peak_memory() as peak:
                results = step(results)
            peaks[name] = round(peak.mib, 1)
    return dict(peak_mib=peaks, handed_over_mib=round(sum(map(storage_bytes, results['inputs'].values())) / 2**20, 2))


def storage_bytes(packed) -> int:
    """What a tensor, or the tensors of a dataclass, keep alive: a view takes all that it looks at along."""
    if hasattr(packed, 'untyped_storage'):
        return packed.untyped_storage().nbytes()
    return sum(map(storage_bytes, vars(packed).values())) if hasattr(packed, '__dict__') else 0


def compare(checkouts: dict[str, Checkout], subject: str, repeats: int) -> dict:
    """Each checkout's figures, taken in turn, and the ratio of the two."""
    for checkout in checkouts.values():
        checkout.ask('milliseconds', subject, 0)  # warms up files and allocators
    times = [
        {name: checkout.ask('milliseconds', subject, number) for name, checkout in checkouts.items()}
        for number in range(repeats)
    ]
    found = {}
    for name, checkout in checkouts.items():
        mine = [each[name] for each in times]
        found[name] = dict(
            milliseconds={step: round(statistics.median(each[step] for each in mine), 2) for step in mine[0]},
            sample_milliseconds=round(statistics.median(sum(each.values()) for each in mine), 2),
            **checkout.ask('memory', subject, 0),
        )
    if 'baseline' in found:
        found['ratio'] = round(found['this']['sample_milliseconds'] / found['baseline']['sample_milliseconds'], 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?')
    parser.add_argument('--baseline', type=Path, metavar='DIR')
    parser.add_argument('--repeats', type=int, default=20)
    args = parser.parse_args()
    repos = {'this': REPO, **({'baseline': args.baseline.resolve()} if args.baseline else {})}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        made_up = {} if args.config else write_frames(Path(folder), MADE_UP_FRAMES)
        checkouts = {name: stack.enter_context(Checkout(repo, args.config, made_up)) for name, repo in repos.items()}
        found = {subject: compare(checkouts, subject, args.repeats) for subject in checkouts['this'].subjects}
    print(json.dumps(dict(**found, repeats=args.repeats, threads=1)))


if __name__ == '__main__':
    if sys.argv[1:2] == ['--answer']:
        repo, *rest = json.loads(sys.argv[2])
        answer(Path(repo), *rest)
    else:
        main()
