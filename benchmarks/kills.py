"""A hundred kills at random moments: whether what was killed and started again ends as what nobody killed.

python benchmarks/kills.py [--work DIR] [--seed 0] [--kills simulate=25 prepare=25 cache=20 train=20 demo=10]

Simulating, preparing, caching, training and a small demo run in turn, each first undisturbed, which gives its length
and its result. Then each is killed (SIGKILL, to its whole process group) at moments drawn evenly over that length, one
in four of them over the last second, and started again with the same command, as a user would (a training with
--resume), until it comes through; then its result is compared, and it begins anew until it has had its kills. The demo
is long and gets several kills on its way, each within a seventh of its length. Every command is a copy of this process,
because the imports would take most of the time: the kills are spread over the work.

What is compared: simulated sets, prepared files and caches to the byte; tensors of checkpoints and students to the bit;
numbers of results and of the demo's report to the last digit; and no temporary file may remain but in prepared sets.

Stopped at any moment, it goes on where it was: DIR keeps the state. Prints one JSON line: the kills of each stage, how
many runs came through, whether all of them ended alike, and the seconds; what differed is kept in DIR and named.
"""

import os

# Before numpy and torch read them: no thread may run when a command starts as a copy of this process.
os.environ.update(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1')

import argparse
import ctypes
import hashlib
import json
import multiprocessing
import pickle
import random
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / 'tools'))

import _demo_plan  # noqa: E402
import cleverdistiller  # noqa: E402, F401  (once, for every command)
import demo  # noqa: E402
from _stages import PR_SET_PDEATHSIG, _become  # noqa: E402
from cleverdistiller.fileio import read_checkpoint, replace_when_complete  # noqa: E402

KILLS = dict(simulate=25, prepare=25, cache=20, train=20, demo=10)
SIMULATED = dict(  # format to size
    nuscenes='--scenes 2 --frames 1 --image-scale 0.1 --no-sweeps',
    kitti='--scenes 1 --frames 3',
    semantickitti='--scenes 2 --frames 1',
    images='--scenes 2 --frames 1 --image-scale 0.1',
)
LEARNED_FROM = dict(nuscenes='--scenes 3 --frames 2 --image-scale 0.3 --no-sweeps', kitti='--scenes 1 --frames 3')
ONE_BY_ONE = 'train_dataloader.batch_size=1 '
SMALLER = {  # of the demo's commands
    '--scenes 16 --frames 5': '--scenes 5 --frames 1',
    '--scenes 8 --frames 10': '--scenes 3 --frames 3',
    '--scenes 8 --frames 6': '--scenes 4 --frames 3',
    '--index 12': '--index 1',  # of a picture
    'model.student_weights': f'{ONE_BY_ONE}model.student_weights',  # one labelled frame is no batch of two
    'val_evaluator.predictions_file': 'train_cfg.max_epochs=8 train_cfg.val_interval=8 val_evaluator.predictions_file',
}
LAST_S, OFTEN = 1.0, 0.25  # a share of the kills falls into the last second
CHANGES_WITH_TIME = ('seconds', 'made_from', 'versions')


@dataclass(frozen=True)
class Command:
    """One way to use a stage.

    Args:
        name (str): Unique.
        words (str): ``tools/NAME.py`` and its arguments; {out} is its folder, {data} the folder of simulated sets.
        result (Callable[[Path], Mapping]): What must not differ, of a finished folder.
        resume (str): What a user adds after a kill.
        share (float): Of its length, over which moments are drawn: one life of a long command has several kills.
    """

    name: str
    words: str
    result: Callable[[Path], Mapping[str, str]]
    resume: str = ''
    share: float = 1.0


def files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file."""
    paths = [path for path in sorted(folder.rglob('*')) if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def prepared(folder: Path) -> dict[str, str]:
    """SHA-256 of each file but temporary ones: other machines may be writing into the same set, so they stay."""
    return {name: digest for name, digest in files(folder).items() if not name.endswith('.tmp')}


def trained(folder: Path) -> dict[str, str]:
    """Of a work dir, the bits of all tensors of checkpoints and students, and the numbers of results."""
    found = {path.name: 'left behind' for path in folder.glob('.*.tmp')}
    for path in sorted(folder.glob('*.pth')):
        content = read_checkpoint(path)
        kept = {name: content[name] for name in ('state_dict', 'optimizer', 'param_schedulers') if name in content}
        found[path.name] = digest_of(kept)
    for path in sorted(folder.glob('*.safetensors')):
        found[path.name] = digest_of(load_file(path))
    for path in sorted(folder.glob('*_results.json')):
        found[path.name] = digest_of(numbers(json.loads(path.read_text())))
    return found


def told(folder: Path) -> dict[str, str]:
    """Of a demo, what its report says, and all of its trainings."""
    [out] = folder.glob('work_dirs/*')
    report = json.loads((out / 'report.json').read_text())
    found = {f'report.json/{name}': repr(value) for name, value in flat(numbers(report))}
    for work_dir in sorted({path.parent for path in out.rglob('epoch_*.pth')}):
        found |= {f'{work_dir.relative_to(out)}/{name}': digest for name, digest in trained(work_dir).items()}
    return found


def numbers(content: object) -> object:
    """JSON without what a clock or a path says."""
    if isinstance(content, dict):
        return {name: numbers(value) for name, value in content.items() if name not in CHANGES_WITH_TIME}
    return [numbers(value) for value in content] if isinstance(content, list) else content


def flat(content: object, prefix: str = '') -> Iterator[tuple[str, object]]:
    """Names and values of nested JSON."""
    if not isinstance(content, dict | list):
        yield prefix, content
        return
    for name, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield from flat(value, f'{prefix}/{name}' if prefix else str(name))


def digest_of(content: object) -> str:
    """SHA-256 of nested tensors and plain values, to the bit."""
    if isinstance(content, Tensor):
        bits = content.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        content = (str(content.dtype), tuple(content.shape), bits)
    elif isinstance(content, dict):
        content = [(str(name), digest_of(content[name])) for name in sorted(content, key=str)]
    elif isinstance(content, list | tuple):
        content = [digest_of(value) for value in content]
    return hashlib.sha256(pickle.dumps(content)).hexdigest()


def commands() -> dict[str, list[Command]]:
    """The stages' commands, which take turns."""
    simulate = 'tools/simulate.py --out {out} --workers 2 --format'
    pretrain = 'configs/demo/cleverdistiller_minkunet14_standin_6e_simulated.py'
    probe = 'configs/demo/lp_minkunet14_100_nuscenes_simulated.py'
    random_teacher = '--cfg-options model.teacher.weights=random'
    ours = f'{random_teacher} train_cfg.max_epochs=3 train_cfg.val_interval=3'
    cache = f'tools/cache_teacher.py {pretrain} --out {{out}} --shard-size 6 --batch-size 3 --workers 1'
    train = 'tools/train.py {} --work-dir {{out}}'
    return dict(
        simulate=[Command(name, f'{simulate} {name} {size}', files) for name, size in SIMULATED.items()],
        prepare=[
            Command('prepare_kitti', 'tools/prepare_kitti.py {data}/kitti --out {out}', prepared),
            Command(
                'prepare_nuscenes',
                'tools/prepare_nuscenes.py {data}/nuscenes --version v1.0-mini --out {out}',
                prepared,
            ),
        ],
        cache=[
            Command('cache_fp16', f'{cache} {random_teacher}', files),
            Command('cache_pca', f'{cache} --form pca --components 8 {random_teacher}', files),
        ],
        train=[
            Command('pretrain', f'{train.format(pretrain)} {ours}', trained, '--resume'),
            Command('probe', f'{train.format(probe)} --cfg-options model.student_weights=None', trained, '--resume'),
        ],
        demo=[Command('demo', '', told, share=0.15)],
    )


def small_demo() -> None:
    """The demo's tool with a plan of less of everything: streets, students, draws, steps."""
    _demo_plan.STUDENTS, _demo_plan.DETECTED, _demo_plan.DRAWS = ('scalr', 'cleverdistiller'), ('cleverdistiller',), 1
    _demo_plan.FRAMES = '0 1'
    del _demo_plan.LABELS['mlp']
    demo.run(SmallPlan(0, 'stand-in'), processes=1)


class SmallPlan(_demo_plan.DemoPlan):
    """The demo's commands with other sizes, those of ``SMALLER``."""

    def stages(self) -> list[_demo_plan.Stage]:
        """As the demo's."""
        return [replace(stage, command=smaller(stage.command)) for stage in super().stages()]


def smaller(command: str) -> str:
    """A command of the demo with less to do."""
    for large, small in SMALLER.items():
        command = command.replace(large, small)
    return command


def start(words: str, folder: Path, log: Path, data: Path) -> multiprocessing.Process:
    """Start a command as the head of a process group."""
    process = multiprocessing.get_context('fork').Process(target=_lead, args=(words, folder, log, data))
    process.start()
    return process


def _lead(words: str, folder: Path, log: Path, data: Path) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    tqdm.set_lock(threading.RLock())  # else a command that is killed while it draws would keep the lock of this process
    if words:
        os.environ['DEMO'] = str(data.parent)
        os.chdir(REPO)
        _become(shlex.split(words), log, 0)
        return
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    for name in ('configs', 'tools'):  # the demo's commands are given in the repository
        if not Path(name).is_symlink():
            Path(name).symlink_to(REPO / name)
    with open(log, 'a', buffering=1) as output:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
        small_demo()


def end(process: multiprocessing.Process) -> None:
    """Kill a whole process group, and wait until nobody of it can write any more."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it leads no group yet
        process.kill()
    process.join()
    patience_ends = time.monotonic() + 2
    while time.monotonic() < patience_ends:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)


class Kills:
    """The stages, what they left undisturbed, and how often each was killed so far: ``DIR/state.json``.

    Args:
        work (Path): DIR.
        seed (int): Of the moments.
        wanted (Mapping[str, int]): Stage to kills.
    """

    def __init__(self, work: Path, seed: int, wanted: Mapping[str, int]) -> None:
        self.work, self.seed, self.wanted = work, seed, wanted
        self.data = work / 'data'
        path = work / 'state.json'
        self.state = json.loads(path.read_text()) if path.is_file() else dict(commands={}, faults=[], seconds=0.0)
        self.since = time.monotonic()

    def run(self) -> dict:
        """Kill until every stage has had its kills; returns what to print."""
        self._simulated_sets()
        done = sum(self._kills(stage) for stage in self.wanted)
        with tqdm(total=sum(self.wanted.values()), initial=done, desc='kills', unit='kill') as bar:
            for stage, variants in commands().items():
                while self._kills(stage) < self.wanted.get(stage, 0):
                    turn = sum(self._of(each)['came_through'] for each in variants) % len(variants)
                    bar.set_postfix_str(variants[turn].name)
                    self._round(stage, variants[turn], bar)
        kept, stages = self.state['commands'], commands()
        last_s = [each['undisturbed_s'] - moment for each in kept.values() for moment in each['moments']]
        return dict(
            kills={stage: self._kills(stage) for stage in self.wanted},
            came_through={name: sum(self._of(each)['came_through'] for each in stages[name]) for name in self.wanted},
            identical=not self.state['faults'],
            faults=self.state['faults'],
            undisturbed_s={name: round(each['undisturbed_s'], 1) for name, each in kept.items() if 'expected' in each},
            in_the_last_second=sum(seconds < LAST_S for seconds in last_s),
            seconds=round(self.state['seconds']),
            seed=self.seed,
            torch=torch.__version__,
        )

    def _of(self, command: Command) -> dict:
        return self.state['commands'].setdefault(command.name, dict(attempts=0, moments=[], came_through=0))

    def _kills(self, stage: str) -> int:
        return sum(len(self._of(command)['moments']) for command in commands()[stage])

    def _save(self) -> None:
        self.state['seconds'] += time.monotonic() - self.since
        self.since = time.monotonic()
        with replace_when_complete(self.work / 'state.json') as temporary:
            temporary.write_text(json.dumps(self.state, indent=1))

    def _simulated_sets(self) -> None:
        """What the other stages read."""
        made = [
            *((name, f'tools/simulate.py --out {{out}} --format {name} {size}') for name, size in LEARNED_FROM.items()),
            ('nuscenes', 'tools/prepare_nuscenes.py {out} --version v1.0-mini'),
        ]
        for name, words in made:
            out, done = self.data / name, self.work / f'{Path(words.split()[0]).stem}_{name}.done'
            if not done.is_file():
                self._finish(start(self._words(words, out), out, self._log, self.data))
                done.touch()

    @property
    def _log(self) -> Path:
        return self.work / 'log.txt'

    def _words(self, words: str, out: Path) -> str:
        return words.format(out=out, data=self.data)

    def _finish(self, process: multiprocessing.Process) -> None:
        process.join()
        if process.exitcode:
            raise SystemExit(f'a command ended with status {process.exitcode}: see {self._log}')

    def _round(self, stage: str, command: Command, bar: tqdm) -> None:
        """Run a command to its end, and kill it on the way."""
        kept, folder = self._of(command), self.work / command.name
        if 'expected' not in kept:
            shutil.rmtree(folder, ignore_errors=True)
            begun = time.monotonic()
            self._finish(start(self._words(command.words, folder), folder, self._log, self.data))
            kept['undisturbed_s'] = time.monotonic() - begun
            kept['expected'] = dict(command.result(folder))
            shutil.rmtree(folder)
            self._save()
        while True:
            kept['attempts'] += 1
            words = f'{command.words} {command.resume}'.strip() if folder.exists() else command.words
            moment = self._moment(command, kept['attempts'], kept['undisturbed_s'])
            process = start(self._words(words, folder), folder, self._log, self.data)
            process.join(moment if self._kills(stage) < self.wanted[stage] else None)
            if process.exitcode is None:
                end(process)
            if process.exitcode != -signal.SIGKILL:
                break
            kept['moments'].append(round(moment, 3))
            bar.update()
            self._save()
        kept['came_through'] += 1
        found = {}
        if not process.exitcode:
            try:
                found = dict(command.result(folder))
            except Exception as error:  # of whatever reads what is not whole: the worst that can be found here
                found = {f'cannot be read: {error!r}': ''}
        expected = kept['expected']
        different = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        if process.exitcode or different:
            keep = self.work / f'fault_{len(self.state["faults"])}'
            shutil.copytree(folder, keep, symlinks=True)
            shutil.copy(self._log, f'{keep}.log')
            fault = f'{command.name}: status {process.exitcode}, other {", ".join(different)[:500]}'
            self.state['faults'].append(fault)
            bar.write(fault)
        shutil.rmtree(folder)
        self._log.unlink(missing_ok=True)
        self._save()

    def _moment(self, command: Command, attempt: int, length_s: float) -> float:
        """Seconds after the start, the same for the same seed, command and attempt."""
        chance = random.Random(f'{self.seed} {command.name} {attempt}')
        which, where = chance.random(), chance.random()
        if which < OFTEN and command.share == 1:
            return max(length_s - LAST_S * where, 0.0)
        return command.share * length_s * where


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work', type=Path, default=Path('work_dirs/kills'), metavar='DIR')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--kills', nargs='+', default=[f'{stage}={count}' for stage, count in KILLS.items()])
    args = parser.parse_args()
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    wanted = {stage: int(count) for stage, _, count in (each.partition('=') for each in args.kills)}
    print(json.dumps(Kills(work, args.seed, wanted).run()))


if __name__ == '__main__':
    main()
