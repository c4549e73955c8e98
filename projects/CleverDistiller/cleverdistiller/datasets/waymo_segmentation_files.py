"""Waymo's record files as a segmentation set of plain point and label files, made file by file.

Several processes and machines may work on one set. Each finished record file leaves a note, written last, that names
its frames: what has a note that still fits is not done again.
"""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete

SPLITS = dict(training='train', validation='val')  # Waymo's folder to the info file's end
NOTES = '.prepared'
BYTES_PER_POINT, BYTES_PER_LABEL = 16, 1  # float32 x, y, z, tanh(intensity); uint8
REASON = 'got: '  # how an InputError's text begins


def split_record_files(root: Path, split: str) -> list[Path]:
    """The record files of a split, sorted by name.

    Args:
        root (Path): Folder that holds ``training/*.tfrecord`` and ``validation/*.tfrecord``.
        split (str): One of ``SPLITS``.

    Raises:
        InputError: If there are none.
    """
    files = sorted((root / split).glob('*.tfrecord'))
    if not files:
        raise InputError(
            f'{root / split}, ' + ('without *.tfrecord files' if (root / split).is_dir() else 'which is not a folder'),
            "Waymo's perception records (v1.3 or later), as training/*.tfrecord and validation/*.tfrecord",
            'check ROOT, or leave the split out with --splits',
        )
    return files


def prepare_files(sources: Sequence[Path], out: Path, workers: int) -> None:
    """Write the frames of all record files that are not prepared yet, and show how far it is.

    Args:
        sources (Sequence[Path]): Record files in their splits' folders.
        out (Path): Folder of the set.
        workers (int): Processes; 1 works in this one.

    Raises:
        InputError: If record files are damaged, which stops none of the others; or, at once, if ``out`` cannot be
            written or a process is killed. What is finished stays.
    """
    todo = [source for source in sources if prepared_frames(source, out) is None]
    faults = []
    bar = tqdm(total=len(sources), initial=len(sources) - len(todo), desc='record files', unit='file')
    try:
        with bar:
            for fault in _prepare_all(todo, out, workers):
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


def prepare_file(source: Path, out: Path) -> None:
    """Write points and labels of a record file's labelled frames, then the note that names them.

    Args:
        source (Path): Record file, in the folder of its split.
        out (Path): Folder of the set. Gets ``SPLIT/CONTEXT/points/MICROSECONDS.bin``, float32 rows of x, y, z and
            tanh(intensity), and ``SPLIT/CONTEXT/labels/MICROSECONDS.label``, uint8 rows from 0 to 22.

    Raises:
        InputError: If the record file is damaged or truncated.
    """
    # Here, because it imports TensorFlow, which whoever only hands out work does not need.
    from cleverdistiller.datasets.waymo_records import damage_named, labelled_frames, labelled_points

    source_bytes, frames = source.stat().st_size, []
    for frame in labelled_frames(source):
        with damage_named(source):
            points, labels = labelled_points(frame)
        name = f'{frame.context.name}/{frame.timestamp_micros}'
        for path, rows in zip(frame_files(source.parent.name, name), (points, labels)):
            with replace_when_complete(out / path) as temporary:
                temporary.write_bytes(rows.tobytes())
        frames.append([name, len(points)])
    with replace_when_complete(_note(source, out)) as temporary:
        temporary.write_text(json.dumps(dict(source_bytes=source_bytes, frames=frames)))


def prepared_frames(source: Path, out: Path) -> list[str] | None:
    """The frames that a record file gave.

    Args:
        source (Path): Record file, in the folder of its split.
        out (Path): Folder of the set.

    Returns:
        list[str] | None: Names, ``CONTEXT/MICROSECONDS``, of which there may be none; None if the file is not prepared,
        or has another size than when it was, or if files of its frames are gone.
    """
    note = _note(source, out)
    if not note.is_file():
        return None
    try:
        content = json.loads(note.read_text())
        same_source, frames = content['source_bytes'] == source.stat().st_size, content['frames']
    except (ValueError, KeyError, TypeError):  # damaged: what it tells of is done again
        return None
    sizes = {
        path: points * row_bytes
        for name, points in frames
        for path, row_bytes in zip(frame_files(source.parent.name, name), (BYTES_PER_POINT, BYTES_PER_LABEL))
    }
    whole = all((out / path).is_file() and (out / path).stat().st_size == size for path, size in sizes.items())
    return [name for name, _ in frames] if same_source and whole else None


def frame_files(split: str, frame: str) -> tuple[str, str]:
    """Files of a frame's points and labels, below the folder of the set."""
    context, micros = frame.split('/')
    return f'{split}/{context}/points/{micros}.bin', f'{split}/{context}/labels/{micros}.label'


def build_infos(split: str, frames: Mapping[Path, Sequence[str]]) -> dict:
    """Make the content of a split's info file.

    Args:
        split (str): One of ``SPLITS``.
        frames (Mapping[Path, Sequence[str]]): Each record file of the split to :func:`prepared_frames`.

    Returns:
        dict: ``metainfo`` and ``data_list``, as mmdet3d 1.4 reads them (info version 1.1), sorted by context and time.
        Files are named relative to the folder of the set.

    Raises:
        InputError: If no frame has labels, or two record files hold the same frame.
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
    if not origin:
        raise InputError(
            f'{next(iter(frames)).parent}: {len(frames)} record files without a frame that has segmentation labels',
            "records of Waymo's perception set v1.3 or later",
            'download records of a later version, or leave the split out with --splits',
        )
    records = []
    for index, frame in enumerate(sorted(origin, key=_context_and_time)):
        points, labels = frame_files(split, frame)
        lidar_points = dict(lidar_path=points, num_pts_feats=4)
        records.append(dict(sample_idx=index, lidar_points=lidar_points, pts_semantic_mask_path=labels))
    return dict(metainfo=dict(dataset='waymo', info_version='1.1'), data_list=records)


def _prepare_all(todo: list[Path], out: Path, workers: int) -> Iterator[str | None]:
    """Prepare each file, and say of each, once it is done, what is wrong with it."""
    if workers == 1:
        yield from (_fault(source, out) for source in todo)
        return
    # Not fork: TensorFlow's threads do not outlive it, and children wait for them for ever.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(workers, context, _start_worker) as pool:
        try:
            for job in as_completed([pool.submit(_fault, source, out) for source in todo]):
                yield job.result()
        except BaseException:  # also Ctrl-C: workers end with the file that they are at
            pool.shutdown(cancel_futures=True)
            raise


def _fault(source: Path, out: Path) -> str | None:
    """Prepare a file and give back what is wrong with it, so that the others go on."""
    try:
        prepare_file(source, out)
    except InputError as error:
        return str(error).splitlines()[0].removeprefix(REASON)


def _start_worker() -> None:
    """No life after the main process: a kill of that one must end all writing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _note(source: Path, out: Path) -> Path:
    return out / NOTES / source.parent.name / f'{source.stem}.json'


def _context_and_time(frame: str) -> tuple[str, int]:
    context, micros = frame.split('/')
    return context, int(micros)
