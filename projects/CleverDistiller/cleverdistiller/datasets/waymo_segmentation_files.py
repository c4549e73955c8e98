"""Waymo's record files as a segmentation set of plain point and label files, made file by file.

Several processes and machines may work on one set. Each finished record file leaves a note, written last, that names
its frames: what has a note that still fits is not done again.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from cleverdistiller.datasets.waymo_record_files import frames_in_order, work_through
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete

NOTES = '.prepared'
BYTES_PER_POINT, BYTES_PER_LABEL = 16, 1  # float32 x, y, z, tanh(intensity); uint8


def prepare_files(sources: Sequence[Path], out: Path, workers: int) -> None:
    """Write the frames of all record files that are not prepared yet, and show how far it is.

    Args:
        sources (Sequence[Path]): Record files in their splits' folders.
        out (Path): Folder of the set.
        workers (int): Processes; 1 works in this one.

    Raises:
        InputError: See :func:`work_through`.
    """
    todo = [source for source in sources if prepared_frames(source, out) is None]
    work_through(sources, todo, partial(prepare_file, out=out), out, workers)


def prepare_file(source: Path, out: Path) -> None:
    """Write points and labels of a record file's labelled frames, then the note that names them.

    Args:
        source (Path): Record file, in the folder of its split.
        out (Path): Folder of the set. Gets ``SPLIT/CONTEXT/points/MICROSECONDS.bin``, float32 rows of x, y, z and
            tanh(intensity), and ``SPLIT/CONTEXT/labels/MICROSECONDS.label``, uint8 rows from 0 to 22.

    Raises:
        InputError: If the record file is damaged, truncated or empty; nothing is written then.
    """
    # Here, because it imports TensorFlow, which whoever only hands out work does not need.
    from cleverdistiller.datasets.waymo_records import check_records, damage_named, labelled_frames, labelled_points

    check_records(source)  # before anything is written
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
        split (str): ``training`` or ``validation``.
        frames (Mapping[Path, Sequence[str]]): Each record file of the split to :func:`prepared_frames`.

    Returns:
        dict: ``metainfo`` and ``data_list``, as mmdet3d 1.4 reads them (info version 1.1), sorted by context and time.
        Files are named relative to the folder of the set.

    Raises:
        InputError: If no frame has labels, or two record files hold the same frame.
    """
    names = frames_in_order(frames)
    if not names:
        raise InputError(
            f'{next(iter(frames)).parent}: {len(frames)} record files without a frame that has segmentation labels',
            "records of Waymo's perception set v1.3 or later",
            'download records of a later version, or leave the split out with --splits',
        )
    records = []
    for index, frame in enumerate(names):
        points, labels = frame_files(split, frame)
        lidar_points = dict(lidar_path=points, num_pts_feats=4)
        records.append(dict(sample_idx=index, lidar_points=lidar_points, pts_semantic_mask_path=labels))
    return dict(metainfo=dict(dataset='waymo', info_version='1.1'), data_list=records)


def _note(source: Path, out: Path) -> Path:
    return out / NOTES / source.parent.name / f'{source.stem}.json'
