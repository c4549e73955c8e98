"""Writes a whole simulated set with several processes; stopped at any moment, it goes on where it was."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import cv2
import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import full_disk, remove_leftovers, replace_when_complete, visible_paths
from cleverdistiller.plain_pickle import read_plain_pickle
from cleverdistiller.provenance import SIMULATION_MARK
from cleverdistiller.simulation.sensors.recording import simulate_frame
from cleverdistiller.simulation.world.scene import Scene
from cleverdistiller.simulation.writers import FORMATS, Writer, writer_class

PROGRESS = '.simulation'  # one record a finished frame, until all are
STOP = 'stop'  # tells the workers to
DISK_TROUBLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
NOTE = 'Simulated by CleverDistiller: nothing measured on it says anything about real roads.'
MIB_A_FRAME = {'nuscenes': 9.0, 'kitti': 4.0, 'semantickitti': 4.5, 'waymo': 8.0, 'images': 2.5}  # measured, rounded up
OPTIONS = dict(image_scale=1.0, sweeps=True)  # of the car's sensors, and how they are unless one says otherwise


@dataclass(frozen=True)
class SimulatedSet:
    """What decides every byte of a set.

    Args:
        format (str): One of ``FORMATS``.
        scenes (int): Number of scenes.
        frames (int): Keyframes in each.
        seed (int): Another seed, other streets.
        image_scale (float): Rows and columns of the images are multiplied by it.
        sweeps (bool): With the LiDAR sweeps between keyframes, where the format has any.

    Raises:
        InputError: For a number below 1, a negative seed or an unknown format.
    """

    format: str
    scenes: int
    frames: int
    seed: int
    image_scale: float = 1.0
    sweeps: bool = True

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise InputError(f'--format {self.format}', f'one of {", ".join(FORMATS)}', 'choose one of them')
        for name in ('scenes', 'frames'):
            if getattr(self, name) < 1:
                raise InputError(f'--{name} {getattr(self, name)}', '1 or more', f'say --{name} 8, for example')
        if self.seed < 0:
            raise InputError(f'--seed {self.seed}', '0 or more', 'choose another seed')

    @property
    def manifest(self) -> dict:
        """Content of ``simulation.json``. Options that are not used are not named: sets from before had none."""
        options = {name: value for name, value in asdict(self).items() if value != OPTIONS.get(name)}
        return dict(simulated=True, note=NOTE, **options, version=version('cleverdistiller'))

    def writer(self, out: Path, kind: type[Writer]) -> Writer:
        """Set up a writer of this set.

        Raises:
            InputError: If the format cannot hold so few or so many frames, or not these options.
        """
        writer = kind(out, self.scenes, self.frames, self.seed)
        writer.adjust_rig(**{name: getattr(self, name) for name in OPTIONS})
        return writer


def simulate(wanted: SimulatedSet, out: Path, workers: int, kind: type[Writer] | None = None) -> bool:
    """Write a set, or what is missing of it.

    Args:
        wanted (SimulatedSet): What.
        out (Path): Where: a new or empty folder, or one with an unfinished run of the same set.
        workers (int): Processes.
        kind (type[Writer] | None): Writer; None for the format's own.

    Returns:
        bool: False if the whole set was there already.

    Raises:
        InputError: If the folder holds something else or cannot be written, if the disk is too small, if the format
            cannot hold so few or so many frames, or for no workers.
    """
    if workers < 1:
        raise InputError(f'--workers {workers}', '1 or more', 'leave it out to use every processor')
    kind = kind or writer_class(wanted.format)
    with _disk_errors(out):
        if _is_complete(wanted, out):
            shutil.rmtree(out / PROGRESS, ignore_errors=True)  # a kill may have come before it was gone
            return False
        every = [(scene, frame) for scene in range(wanted.scenes) for frame in range(wanted.frames)]
        todo = [each for each in every if not _record_path(out, *each).is_file()]
        _check_space(wanted, out, len(todo))
        # Made before anything is there, because it refuses what the format cannot hold.
        writer = wanted.writer(out, kind)
        _write_manifest(wanted, out, complete=False)  # the first file: it tells the next run whose folder this is
        (out / PROGRESS).mkdir(exist_ok=True)
        _simulate_all(wanted, out, todo, workers, kind)
        remove_leftovers(out, recursive=True)  # of a run that was killed while it wrote
        again = f'delete {out / PROGRESS} and run the same command again'
        records = [read_plain_pickle(_record_path(out, *each), 'what a frame left', again) for each in every]
        writer.finish([records[start : start + wanted.frames] for start in range(0, len(records), wanted.frames)])
        _write_manifest(wanted, out, complete=True)
        shutil.rmtree(out / PROGRESS)
    return True


def _is_complete(wanted: SimulatedSet, out: Path) -> bool:
    """Whether the set is there; refuses a folder that holds anything else."""
    if not out.exists():
        return False
    if not out.is_dir():
        raise InputError(f'{out}, which is a file', 'a folder', 'choose another --out')
    if not visible_paths(out):
        return False  # empty, but for the manifest of a run that was killed while it wrote that
    try:
        found = json.loads((out / SIMULATION_MARK).read_text())
    except (FileNotFoundError, ValueError):
        found = {}
    found = found if isinstance(found, dict) else {}
    complete = found.pop('complete', None)
    if found == wanted.manifest:
        return bool(complete)
    settings = ('format', 'scenes', 'frames', 'seed', *OPTIONS, 'version')
    told = OPTIONS | found if 'format' in found else {}
    held = ', '.join(f'{key} {told[key]}' for key in settings if key in told) or 'no simulated set'
    raise InputError(
        f'{out}, which holds {held}',
        'an empty or new folder, or an unfinished run of the same command',
        'choose another --out, or delete that folder yourself; nothing in it was touched',
    )


def _check_space(wanted: SimulatedSet, out: Path, frames: int) -> None:
    """Refuse a disk that is plainly too small."""
    needed = frames * MIB_A_FRAME[wanted.format] * 2**20
    folder = next(parent for parent in (out, *out.resolve().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f'{free / 2**30:.1f} GiB free below {folder}',
            f'about {needed / 2**30:.1f} GiB for {frames} frames',
            'free some space, choose another --out, or write fewer scenes',
        )


def _simulate_all(
    wanted: SimulatedSet, out: Path, todo: list[tuple[int, int]], workers: int, kind: type[Writer]
) -> None:
    """Hand runs of frames to the workers, and show how far they are."""
    # Many frames of one scene at a time, because a worker builds the scene for them; equal work for all workers.
    longest = -(-wanted.scenes * wanted.frames // (workers * -(-wanted.scenes // workers)))
    jobs = []
    for scene, frame in todo:
        if jobs and jobs[-1][0] == scene and jobs[-1][1][-1] == frame - 1 and len(jobs[-1][1]) < longest:
            jobs[-1][1].append(frame)
        else:
            jobs.append((scene, [frame]))
    total = wanted.scenes * wanted.frames
    (out / PROGRESS / STOP).unlink(missing_ok=True)
    with ProcessPoolExecutor(workers, _process_context(), _start_worker) as pool:
        pending = {pool.submit(_simulate_run, wanted, out, scene, frames, kind) for scene, frames in jobs}
        bar = tqdm(total=total, initial=total - len(todo), desc='simulating', unit='frame')
        try:
            with bar:
                while pending:
                    done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                    for job in done:
                        job.result()
                    bar.update(sum(_record_path(out, *each).is_file() for each in todo) + total - len(todo) - bar.n)
        except BaseException:  # also Ctrl-C: workers end with the frame they are at
            (out / PROGRESS / STOP).touch()
            pool.shutdown(cancel_futures=True)
            raise


def _process_context() -> multiprocessing.context.BaseContext:
    """How to start workers: as copies of this process if that is safe, else of a new one that imports all anew."""
    threads = Path('/proc/self/task')
    if threads.is_dir() and len(list(threads.iterdir())) == 1:
        return multiprocessing.get_context('fork')
    # A copy of a process that has cast rays or run torch would wait for threads that it lacks.
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([__name__])
    return context


def _start_worker() -> None:
    """One thread each, and no life after the main process: a kill of that one must end all writing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    threadpool_limits(1)

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _simulate_run(wanted: SimulatedSet, out: Path, scene: int, frames: list[int], kind: type[Writer]) -> None:
    """In a worker: simulate and write frames of one scene."""
    writer = wanted.writer(out, kind)
    world = _scene(wanted.seed, scene, wanted.frames * writer.rig.frame_s)
    for frame in frames:
        if (out / PROGRESS / STOP).exists():
            return
        record = writer.write_frame(simulate_frame(world, writer.rig, frame), world)
        with replace_when_complete(_record_path(out, scene, frame)) as temporary:
            temporary.write_bytes(pickle.dumps(record))


@lru_cache(maxsize=1)
def _scene(seed: int, index: int, duration_s: float) -> Scene:
    return Scene(seed, index, duration_s)


def _record_path(out: Path, scene: int, frame: int) -> Path:
    return out / PROGRESS / f'{scene:05d}_{frame:05d}.pkl'


def _write_manifest(wanted: SimulatedSet, out: Path, complete: bool) -> None:
    with replace_when_complete(out / SIMULATION_MARK) as temporary:
        temporary.write_text(json.dumps(dict(wanted.manifest, complete=complete), indent=2) + '\n')


@contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one clear error."""
    try:
        yield
    except OSError as error:
        full = full_disk(error, out)
        if full is None and error.errno not in DISK_TROUBLE:
            raise
        raise InputError(
            f'{out}, which cannot be written ({os.strerror(full or error.errno)})',
            'a writable folder with space',
            ('free some space' if full else 'choose another --out')
            + ' and run the same command again: finished frames are kept',
        ) from error
