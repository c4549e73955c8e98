"""Commands that build on each other: done once, resumed after a kill, skipped while what they made is valid."""

import ctypes
import hashlib
import json
import logging
import math
import multiprocessing
import os
import re
import runpy
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from mmengine.config import Config
from tqdm import tqdm

from _packaged import last_error
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete, visible_paths

ROOT = Path(__file__).resolve().parents[1]
GIB_A_PROCESS = 4
LOOK_EVERY_S = 0.5
LOG_EVERY_S = 30  # where nobody watches
SETTLED_S = 30  # of work, before its pace says something about the rest
THREADS = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')  # read by torch and numpy when imported
PR_SET_PDEATHSIG = 1  # Linux: the signal that a process gets when its parent ends
# What the tools print about how far they are: tqdm's bar, mmengine's log.
BAR = re.compile(r'(\d+)%\|')
TRAINED = re.compile(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\]')


@dataclass(frozen=True)
class Stage:
    """One command and what it makes.

    Args:
        name (str): Unique, such as ``pretrain/scalr``.
        title (str): For people.
        command (str): ``tools/NAME.py`` and its arguments, as typed after ``python`` in the repository.
        outputs (tuple[Path, ...]): Files that are there when it is done, and whose bytes tell whether it is valid.
        expected_s (float): About how long it takes: its share in the estimate for the whole.
        after (tuple[str, ...]): Names of the stages whose outputs it reads.
        reads (tuple[Path, ...]): Other files that it reads.
        work_dir (Path | None): Of a training: it goes on there after a kill, and is removed before a fresh start.
    """

    name: str
    title: str
    command: str
    outputs: tuple[Path, ...]
    expected_s: float
    after: tuple[str, ...] = ()
    reads: tuple[Path, ...] = ()
    work_dir: Path | None = None

    def configs(self) -> list[str]:
        """The config files among the arguments."""
        return [word for word in shlex.split(self.command) if word.startswith('configs/') and word.endswith('.py')]


class StageRunner:
    """Runs stages as soon as what they read is there, several at a time.

    ``FOLDER/stages/NAME.json`` tells how a finished stage was made: the fingerprint of everything it follows from, the
    SHA-256 of what it wrote, and the seconds it took. A stage is done again if any of these is not what it should be.
    ``FOLDER/logs/NAME.log`` is what it printed.

    Each stage runs in a copy of this process, because the imports take longer than many a stage. Threads are not
    copied, so that this process must not have computed anything before. On GPUs each is a process of its own.

    Args:
        folder (Path): Of the records and logs.
        processes (int): Stages at a time.
        gpus (int): For each training; with two or more it is started by torchrun.
    """

    def __init__(self, folder: Path, processes: int, gpus: int = 0) -> None:
        self.folder, self.processes, self.gpus = folder, processes, gpus
        self.records: dict[str, dict] = {}  # of the stages that are done

    def look(self, stages: Sequence[Stage]) -> list[Stage]:
        """Take over the records of what is done already.

        Args:
            stages (Sequence[Stage]): Each comes after those that it reads from.

        Returns:
            list[Stage]: What is left to do.
        """
        for stage in stages:
            if stage.name not in self.records and all(name in self.records for name in stage.after):
                self._take_record(stage, self._fingerprint(stage))
        return [stage for stage in stages if stage.name not in self.records]

    def run(self, stages: Sequence[Stage], done: Callable[[Stage], None] = lambda stage: None) -> None:
        """Do what is not done.

        Args:
            stages (Sequence[Stage]): Each comes after those that it reads from.
            done (Callable[[Stage], None]): Called for each stage as soon as it is done.

        Raises:
            InputError: If a stage fails; the others' work is kept.
        """
        waiting = list(stages)
        fingerprints: dict[str, str] = {}
        running: dict[str, _Running] = {}
        with _Progress(stages) as progress, _ended_with(running):
            while waiting or running:
                for stage in [stage for stage in waiting if all(name in self.records for name in stage.after)]:
                    if stage.name not in self.records and stage.name not in fingerprints:
                        fingerprints[stage.name] = self._fingerprint(stage)
                        self._take_record(stage, fingerprints[stage.name])
                    if stage.name in self.records:
                        waiting.remove(stage)
                        done(stage)
                    elif len(running) < self.processes:
                        waiting.remove(stage)
                        running[stage.name] = self._start(stage, fingerprints[stage.name])
                time.sleep(LOOK_EVERY_S if running else 0)
                for each in [each for each in running.values() if not each.process.is_alive()]:
                    del running[each.stage.name]
                    if self._finish(each):
                        done(each.stage)
                        progress.tell(f'{self.records[each.stage.name]["seconds"]:6.0f} s  {each.stage.title}')
                    else:
                        waiting.insert(0, each.stage)
                progress.show(self.records, running)

    def _fingerprint(self, stage: Stage) -> str:
        made_from = dict(
            command=stage.command,
            configs=[read_config(path).pretty_text for path in stage.configs()],
            after=[self.records[name]['outputs'] for name in stage.after],
            reads=_hashes(stage.reads),
        )
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()

    def _take_record(self, stage: Stage, fingerprint: str) -> None:
        """Take over the record of a stage that is done already."""
        try:
            record = json.loads(self._record_file(stage).read_text())
            if record['fingerprint'] == fingerprint and record['outputs'] == _hashes(stage.outputs):
                self.records[stage.name] = record
        except FileNotFoundError:  # of the record or of an output
            pass

    def _start(self, stage: Stage, fingerprint: str) -> '_Running':
        begun, log = self._record_file(stage).with_suffix('.begun'), self.folder / 'logs' / f'{stage.name}.log'
        begun_alike = stage.work_dir is not None and _read(begun) == fingerprint
        resumes = begun_alike and any(visible_paths(stage.work_dir, '*.pth'))
        if not resumes:
            if stage.work_dir is not None:
                shutil.rmtree(stage.work_dir, ignore_errors=True)
            with replace_when_complete(begun) as temporary:
                temporary.write_text(fingerprint)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.open('a' if resumes else 'w').close()
        command = shlex.split(stage.command) + ['--resume'] * resumes
        gpus = min(self.gpus, 1) if stage.work_dir is None else self.gpus
        process = multiprocessing.get_context('fork').Process(target=_become, args=(command, log, gpus))
        process.start()
        return _Running(stage, fingerprint, process, log, time.monotonic(), resumes, _epochs(stage))

    def _finish(self, ended: '_Running') -> bool:
        """Record a stage that ended; False if it has to be done again."""
        stage, seconds = ended.stage, time.monotonic() - ended.since
        missing = [str(path) for path in stage.outputs if not path.is_file()]
        if missing and ended.resumed and not ended.process.exitcode:
            # The kill came between the last checkpoint and the results, so that there was nothing left to resume.
            self._record_file(stage).with_suffix('.begun').unlink()
            return False
        if missing or ended.process.exitcode:
            reason = f'status {ended.process.exitcode}' if ended.process.exitcode else f'no {", ".join(missing)}'
            raise InputError(
                f'{stage.name}, which ended with {reason}: {last_error(ended.log)}',
                f'success of: python {stage.command}',
                f'see {ended.log}; the same command goes on from here',
            )
        record = dict(fingerprint=ended.fingerprint, outputs=_hashes(stage.outputs), seconds=round(seconds, 1))
        with replace_when_complete(self._record_file(stage)) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + '\n')
        self.records[stage.name] = record
        return True

    def _record_file(self, stage: Stage) -> Path:
        return self.folder / 'stages' / f'{stage.name}.json'


@dataclass(frozen=True)
class _Running:
    stage: Stage
    fingerprint: str
    process: BaseProcess
    log: Path
    since: float
    resumed: bool
    epochs: int | None  # of a training

    def share(self) -> float:
        """How much of the stage is done, by what it printed; by the clock if it prints nothing of the kind."""
        text = _tail(self.log)
        trained, bars = TRAINED.findall(text), BAR.findall(text)
        if trained and self.epochs:
            epoch, step, steps = map(int, trained[-1])
            return min((epoch - 1 + step / steps) / self.epochs, 1.0)
        if bars:
            return int(bars[-1]) / 100
        return min((time.monotonic() - self.since) / self.stage.expected_s, 0.95)


class _Progress:
    """One line: how much of the whole is done, when it will be, and what is at work."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        tqdm.monitor_interval = 0  # its thread would be lost in the copies
        self.expected_s = {stage.name: stage.expected_s for stage in stages}
        total = sum(self.expected_s.values())
        self.bar = tqdm(total=total, bar_format='{percentage:3.0f}% |{bar:20}| {desc}', dynamic_ncols=True)
        self.started_s = time.monotonic()
        self.shown_s = -math.inf
        self.first: dict[str, float] = {}  # how much of each stage was done when this run took it up

    def __enter__(self) -> '_Progress':
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    def tell(self, line: str) -> None:
        self.bar.write(line)

    def show(self, records: Mapping[str, dict], running: Mapping[str, _Running]) -> None:
        """Draw the line anew.

        Args:
            records (Mapping[str, dict]): Of the stages that are done.
            running (Mapping[str, _Running]): At work.
        """
        now_s = time.monotonic()
        if now_s < self.shown_s + (LOOK_EVERY_S if sys.stderr.isatty() else LOG_EVERY_S):
            return
        self.shown_s = now_s
        shares = {name: each.share() for name, each in running.items()}
        self.first = shares | self.first
        done = dict.fromkeys(records, 1.0) | shares
        done_s = sum(expected_s * done.get(name, 0.0) for name, expected_s in self.expected_s.items())
        worked_s = sum(self.expected_s[name] * (done.get(name, share) - share) for name, share in self.first.items())
        pace = worked_s / (now_s - self.started_s) if worked_s > SETTLED_S else max(len(running), 1)
        parts = [f'{sum(name in records for name in self.expected_s)} of {len(self.expected_s)} stages']
        if running:
            parts.append(f'{(self.bar.total - done_s) / pace / 60:.0f} min left')
            parts.append('now ' + ', '.join(f'{name} {share:.0%}' for name, share in shares.items()))
        self.bar.n = done_s
        self.bar.set_description_str('; '.join(parts))


def processes() -> int:
    """Stages at a time: one a processor, as far as the memory reaches."""
    memory_gib = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    return max(1, min(len(os.sched_getaffinity(0)), int(memory_gib / GIB_A_PROCESS)))


@contextmanager
def _ended_with(running: dict[str, _Running]) -> Iterator[None]:
    """Let no stage outlive this process's interest in it."""
    try:
        yield
    finally:
        for each in running.values():
            each.process.terminate()
        for each in running.values():
            each.process.join()


def _become(command: Sequence[str], log: Path, gpus: int) -> None:
    """In the copy: run a tool as if it had been typed."""
    # A killed parent must not leave writers behind; torchrun ends its own workers if it is asked rather than killed.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM if gpus > 1 else signal.SIGKILL)
    tqdm.set_lock(threading.RLock())  # else a copy that is killed while it draws would keep the lock of all the others
    sys.stdout = sys.stderr = output = open(log, 'a', buffering=1)  # noqa: SIM115  (until the end of the process)
    for descriptor in (1, 2):  # of whatever does not ask Python
        os.dup2(output.fileno(), descriptor)
    if gpus:  # without the limits that this process has set on its threads
        for name in THREADS:
            os.environ.pop(name, None)
        torchrun = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={gpus}'] if gpus > 1 else []
        os.execv(
            sys.executable,
            [sys.executable, *torchrun, str(ROOT / command[0]), *command[1:], *['--launcher=pytorch'] * (gpus > 1)],
        )
    sys.argv = [str(ROOT / command[0]), *command[1:]]
    runpy.run_path(sys.argv[0], run_name='__main__')


def _epochs(stage: Stage) -> int | None:
    if stage.work_dir is None:
        return None
    [config] = stage.configs()
    return read_config(config).train_cfg.max_epochs


def read_config(path: str) -> Config:
    """A config with its bases, as this process's environment makes it."""
    logging.disable(logging.INFO)  # mmengine tells of each environment variable that a config takes
    try:
        return Config.fromfile(ROOT / path, import_custom_modules=False)
    finally:
        logging.disable(logging.NOTSET)


def _hashes(paths: Iterable[Path]) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _tail(path: Path) -> str:
    with open(path, 'rb') as file:
        file.seek(max(0, path.stat().st_size - 4096))
        return file.read().decode(errors='replace')


def _read(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None
