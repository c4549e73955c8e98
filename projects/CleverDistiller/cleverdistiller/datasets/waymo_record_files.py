"""Waymo's record files, and work on many of them: in several processes, with a bar, past damaged ones.

Whoever makes a set of them leaves something behind for each file that is done, and gives the others to
:func:`work_through`; so a run that was stopped goes on. Nothing here needs TensorFlow.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import visible_paths
from cleverdistiller.provenance import refuse_unfinished

SPLITS = dict(training='train', validation='val')  # Waymo's folder to the info file's end
REASON = 'got: '  # how an InputError's text begins


def split_record_files(root: Path, split: str) -> list[Path]:
    """The record files of a split, sorted by name.

    Args:
        root (Path): Folder that holds ``training/*.tfrecord`` and ``validation/*.tfrecord``.
        split (str): One of ``SPLITS``.

    Raises:
        InputError: If there are none, or if they are part of a simulated set that is not complete.
    """
    refuse_unfinished(root)
    files = visible_paths(root / split, '*.tfrecord')
    if not files:
        raise InputError(
            f'{root / split}, ' + ('without *.tfrecord files' if (root / split).is_dir() else 'which is not a folder'),
            "Waymo's perception records (v1.3 or later), as training/*.tfrecord and validation/*.tfrecord",
            'check ROOT, or leave the split out with --splits',
        )
    return files


def shard_of(text: str) -> tuple[int, int]:
    """Read which part of how many a machine does.

    Args:
        text (str): ``I/N``: every Nth record file, from the Ith, counted from 0.

    Raises:
        InputError: If it is not I/N with I below N.
    """
    part, _, parts = text.partition('/')
    if not (part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
        raise InputError(f'--shard {text}', 'I/N with I from 0 to N - 1', 'say --shard 0/4, 1/4, 2/4 and 3/4')
    return int(part), int(parts)


def work_through(
    sources: Sequence[Path], todo: Sequence[Path], work: Callable[[Path], None], out: Path, workers: int
) -> None:
    """Work on record files that are not done yet, and show how far it is.

    Args:
        sources (Sequence[Path]): All record files.
        todo (Sequence[Path]): Those that are not done.
        work (Callable[[Path], None]): What to do with one; can be pickled if there are several workers.
        out (Path): Where it writes, for the message.
        workers (int): Processes; 1 works in this one.

    Raises:
        InputError: If record files are damaged, which stops none of the others; or, at once, if ``out`` cannot be
            written or a process is killed. What is finished stays.
    """
    faults = []
    bar = tqdm(total=len(sources), initial=len(sources) - len(todo), desc='record files', unit='file')
    try:
        with bar:
            for fault in _work_on_all(todo, work, workers):
                bar.update()
                if fault:
                    faults.append(fault)
    except OSError as error:
        raise InputError(
            f'{error.filename or out} ({error.strerror or error})',
            'records that can be read and a folder with space that can be written',
            'mend that, or choose another --out, and run the same command again: finished record files are kept',
        ) from error
    except BrokenProcessPool as error:
        raise InputError(
            f'--workers {workers}, one of which was killed',
            'about 2 GB of memory for each',
            'run the same command again with fewer of them: finished record files are kept',
        ) from error
    if faults:
        raise InputError(
            f'{len(faults)} damaged record files, such as' + ''.join(f'\n    {fault}' for fault in sorted(faults)[:5]),
            'whole records',
            'download these files again and run the same command again: the others are kept',
        )


def frames_in_order(frames: Mapping[Path, Sequence[str]]) -> list[str]:
    """All frames, by context and time.

    Args:
        frames (Mapping[Path, Sequence[str]]): Each record file to its frames, ``CONTEXT/MICROSECONDS``.

    Raises:
        InputError: If two record files hold the same frame.
    """
    origin = {}
    for source, names in frames.items():
        for frame in names:
            if frame in origin:
                raise InputError(
                    f'{origin[frame]} and {source}, both with the frame {frame}',
                    'every frame once',
                    'move one of the files away and run the same command again',
                )
            origin[frame] = source
    return sorted(origin, key=_context_and_time)


def _work_on_all(todo: Sequence[Path], work: Callable[[Path], None], workers: int) -> Iterator[str | None]:
    """Work on each file, and say of each, once it is done, what is wrong with it."""
    if workers == 1:
        yield from (_fault(work, source) for source in todo)
        return
    # Not fork: TensorFlow's threads do not outlive it, and children wait for them for ever.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(workers, context, _start_worker) as pool:
        try:
            for job in as_completed([pool.submit(_fault, work, source) for source in todo]):
                yield job.result()
        except BaseException:  # also Ctrl-C: workers end with the file that they are at
            pool.shutdown(cancel_futures=True)
            raise


def _fault(work: Callable[[Path], None], source: Path) -> str | None:
    """Work on a file and give back what is wrong with it, so that the others go on."""
    try:
        work(source)
    except InputError as error:
        return str(error).splitlines()[0].removeprefix(REASON)


def _start_worker() -> None:
    """No life after the main process: a kill of that one must end all writing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _context_and_time(frame: str) -> tuple[str, int]:
    context, micros = frame.split('/')
    return context, int(micros)
