"""Transfer runs that can be killed at any time: each trains and tests in processes and files of its own."""

import copy
import fcntl
import hashlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mmdet3d.registry import MODELS
from mmengine.config import Config

from _packaged import last_error
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete, visible_paths

TOOLS = Path(__file__).parent
STUDENT_SLOTS = ('model', 'model.backbone')  # where a config may hold student_weights: segmentors, detectors
LOOK_EVERY_S = 5


@dataclass(frozen=True)
class TransferRun:
    """One training and its test.

    ``FOLDER/NAME.py`` is its whole config, ``FOLDER/NAME.log`` what it printed, ``FOLDER/NAME/`` its work dir. It is
    done when its ``test_results.json`` is there, which only appears whole.

    Args:
        name (str): Unique in the folder.
        config (Config): See :func:`configured`.
        folder (Path): Of all runs.
    """

    name: str
    config: Config
    folder: Path

    @property
    def config_file(self) -> Path:
        return self.folder / f'{self.name}.py'

    @property
    def log(self) -> Path:
        return self.folder / f'{self.name}.log'

    @property
    def work_dir(self) -> Path:
        return self.folder / self.name

    @property
    def results_file(self) -> Path:
        return self.work_dir / 'test_results.json'

    @property
    def unit(self) -> str:
        """What the training counts in, as in its checkpoints' names: ``epoch`` or ``iter``."""
        return 'epoch' if 'max_epochs' in self.config.train_cfg else 'iter'

    @property
    def length(self) -> int:
        """How many units the training has."""
        return self.config.train_cfg[f'max_{self.unit}s']

    @property
    def last_checkpoint(self) -> Path:
        """What is tested: never the best one on the validation set."""
        return self.work_dir / f'{self.unit}_{self.length}.pth'

    @property
    def done(self) -> int:
        """Units that are on disk."""
        found = (re.fullmatch(rf'{self.unit}_(\d+)\.pth', path.name) for path in visible_paths(self.work_dir, '*.pth'))
        newest = max((int(match[1]) for match in found if match), default=0)
        return self.length if self.results_file.is_file() else newest

    def publish_config(self) -> None:
        """Write the config, or make sure that the one there is the same.

        Raises:
            InputError: If the folder holds a run of that name with another config.
        """
        text = self.config.pretty_text
        if not self.config_file.is_file():
            with replace_when_complete(self.config_file) as temporary:
                temporary.write_text(text)
        elif self.config_file.read_text() != text:
            raise InputError(
                f'{self.config_file}, a run with other settings or another student',
                'the config that this command makes',
                'choose another --work-dir, or remove the folder if its runs are not wanted any more',
            )

    def command(self, tool: str, *arguments: str | Path, gpus: int = 0) -> list[str]:
        """What starts a tool on this run's config; on several GPUs through torchrun."""
        launcher = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={gpus}'] if gpus > 1 else []
        command = [sys.executable, *launcher, TOOLS / tool, self.config_file, *arguments, '--work-dir', self.work_dir]
        return [*map(str, command), *(('--launcher', 'pytorch') if launcher else ())]

    def perform(self, watch: Callable[[], None], lock: IO, gpus: int = 0) -> str | None:
        """Do what is not done yet.

        Args:
            watch (Callable): Called every few seconds.
            lock (IO): Of :func:`locked`; the processes keep it too.
            gpus (int): Processes of the training; below 2 it starts without a launcher.

        Returns:
            str | None: Why it failed; None if it did not.
        """
        if not self.results_file.is_file() and not self.last_checkpoint.is_file():
            # A first start with --resume would forget the config's load_from.
            resume = ['--resume'] if self.done else []
            if status := run_process(self.command('train.py', *resume, gpus=gpus), self.log, watch, lock):
                return f'training ended with status {status}: {last_error(self.log)}'
        if not self.results_file.is_file():
            test = self.command('test.py', self.last_checkpoint, gpus=gpus)
            if status := run_process(test, self.log, watch, lock):
                return f'the test ended with status {status}: {last_error(self.log)}'
        return None if self.numbers() else f'no number in {self.results_file}'

    def numbers(self) -> dict[str, float]:
        """Metrics of the finished test; those without a value are left out."""
        return {name: value for name, value in self._results().items() if isinstance(value, (int, float))}

    def is_simulated(self) -> bool:
        """Whether the finished test says that its data were simulated."""
        return self._results()['made_from'].get('simulated', False)

    def _results(self) -> dict:
        return json.loads(self.results_file.read_text())


def configured(cfg: Config, frame_list: str | None, seed: int, student_weights: str | None) -> Config:
    """A config with what tells runs apart; nowhere else is it said which keys those are.

    Args:
        cfg (Config): Of segmentation or detection.
        frame_list (str | None): A file of ``tools/splits.py``; None for the whole training set.
        seed (int): Of the run.
        student_weights (str | None): An exported student; None for the random start.

    Returns:
        Config: A copy, with the student's SHA-256 as ``student_sha256``.
    """
    cfg = copy.deepcopy(cfg)
    dataset = cfg.train_dataloader.dataset
    while 'dataset' in dataset:  # wrappers
        dataset = dataset.dataset
    dataset.frame_list = frame_list
    for step in dataset.pipeline:
        if 'frame_list' in step.get('db_sampler', {}):  # otherwise it gets the dataset's
            step.db_sampler.frame_list = frame_list
    key = student_key(cfg)
    if key is not None:
        cfg.merge_from_dict({key: student_weights})
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    if student_weights is not None:
        cfg.student_sha256 = hashlib.sha256(Path(student_weights).read_bytes()).hexdigest()
    return cfg


def student_key(cfg: Config) -> str | None:
    """Where a config says which student to start from, ``model.student_weights``; None for models without one."""
    for name in STUDENT_SLOTS:
        part = cfg
        for key in name.split('.'):
            part = part.get(key) or {}
        if 'type' in part and 'student_weights' in inspect.signature(MODELS.get(part['type'])).parameters:
            return f'{name}.student_weights'
    return None


def check_evaluates(cfg: Config, path: str) -> None:
    """Refuse a config that would end without numbers.

    Raises:
        InputError: If it trains or tests nothing, or does not write its results.
    """
    needed = ('train_cfg', 'train_dataloader', 'test_cfg', 'test_dataloader', 'test_evaluator')
    missing = [key for key in needed if not cfg.get(key)]
    if not any(hook['type'] == 'WriteResultsHook' for hook in cfg.get('custom_hooks') or ()):
        missing.append('WriteResultsHook among custom_hooks')
    if missing:
        raise InputError(
            f'{path} without {", ".join(missing)}',
            'a config that trains, tests and writes its results',
            'use one of configs/segmentation or configs/detection',
        )


@contextmanager
def locked(folder: Path) -> Iterator[IO]:
    """Keep a folder from other processes until the block and every process that got the lock has ended.

    Args:
        folder (Path): Made if it is not there.

    Yields:
        IO: The lock.

    Raises:
        InputError: If the folder is taken or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / '.lock').touch()
    except OSError as error:
        raise InputError(
            f'{folder}, which cannot be written ({error.strerror})', 'a writable folder', 'choose another --work-dir'
        ) from error
    with open(folder / '.lock') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f'{folder}, where runs are going on',
                'one command at a time in a folder',
                'wait for it, or end it: a training may go on for a while after the command that started it was killed',
            ) from error
        yield lock


def run_process(command: list[str], log: Path, watch: Callable[[], None], lock: IO) -> int:
    """Run a command to its end.

    Args:
        command (list[str]): The command.
        log (Path): Where its output is appended.
        watch (Callable): Called every few seconds.
        lock (IO): Left open in it.

    Returns:
        int: Its exit status.
    """
    with open(log, 'ab') as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, pass_fds=(lock.fileno(),))
        try:
            while True:
                try:
                    return process.wait(LOOK_EVERY_S)
                except subprocess.TimeoutExpired:
                    watch()
        finally:
            process.terminate()  # nothing to end, unless this process is being stopped
            process.wait()
