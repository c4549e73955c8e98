"""KITTI's object detection benchmark as it is downloaded: frames of its splits, and whether their files are whole."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from cleverdistiller.datasets.file_checks import size_fault
from cleverdistiller.errors import InputError

TYPES = ('Pedestrian', 'Cyclist', 'Car', 'Van', 'Truck', 'Person_sitting', 'Tram', 'Misc')
DONT_CARE = 'DontCare'
LABELLED_FRAMES, TEST_FRAMES = 7481, 7518
LABEL_COLUMNS = 15
BYTES_PER_POINT = 16  # float32 x, y, z, intensity
MATRICES = dict(P0=12, P1=12, P2=12, P3=12, R0_rect=9, Tr_velo_to_cam=12, Tr_imu_to_velo=12)
SUFFIXES = dict(velodyne='.bin', image_2='.png', calib='.txt', label_2='.txt')


def read_splits(root: Path, lists: Path | None, official_train: Path) -> dict[str, list[str]]:
    """List the frames of each split.

    Args:
        root (Path): Holds ``training`` and, if you want to predict for the test server, ``testing``.
        lists (Path | None): Folder of ``train.txt`` and, if there are such splits, ``val.txt`` and ``test.txt``, with a
            frame's six digits in each row. None takes ``root/ImageSets``; a root without it has the usual splits.
        official_train (Path): The usual training split; all other labelled frames are for validation.

    Returns:
        dict[str, list[str]]: ``train``, ``val`` and ``test`` to their frames; splits without frames are left out, as
        is ``test`` if there is no ``testing``.

    Raises:
        InputError: If a list is missing or damaged, or if a frame is listed twice.
    """
    folder = lists or (root / 'ImageSets' if (root / 'ImageSets').is_dir() else None)
    if folder is None:
        train = _read_list(official_train)
        labelled = [f'{number:06d}' for number in range(LABELLED_FRAMES)]
        splits = dict(
            train=train,
            val=sorted(set(labelled) - set(train)),
            test=[f'{number:06d}' for number in range(TEST_FRAMES)],
        )
    else:
        names = ['train', *(name for name in ('val', 'test') if (folder / f'{name}.txt').is_file())]
        splits = {name: _read_list(folder / f'{name}.txt') for name in names}
        if leaked := sorted(set(splits['train']) & set(splits.get('val', ()))):
            raise InputError(
                f'{folder}, where {len(leaked)} frames, such as {leaked[0]}, are in train.txt and in val.txt',
                'other frames for validation than for training',
                'take them out of one of the lists; nothing was written',
            )
    if not (root / 'testing').is_dir():
        splits.pop('test', None)
    if not splits['train']:
        raise InputError(f'{folder}/train.txt without frames', 'at least one', 'list the frames to train on')
    return {name: frames for name, frames in splits.items() if frames}


def _read_list(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(
            f'{path}, which is not a file', "a list of frames' six digits", 'write it, or choose another --splits-from'
        )
    frames = path.read_text(errors='replace').split()
    for frame in frames:
        if not re.fullmatch(r'\d{6}', frame):
            raise InputError(f'{path} with the row {frame[:40]!r}', 'six digits in each row', 'correct the list')
    if len(set(frames)) < len(frames):
        twice = next(frame for frame in frames if frames.count(frame) > 1)
        raise InputError(f'{path} with the frame {twice} twice', 'each frame once', 'correct the list')
    return frames


def files_of(split: str, frame: str) -> dict[str, str]:
    """Files of a frame below the root.

    Args:
        split (str): ``train``, ``val`` or ``test``; the last has no labels.
        frame (str): Six digits.

    Returns:
        dict[str, str]: Folder, such as ``velodyne``, to file.
    """
    part = 'testing' if split == 'test' else 'training'
    folders = [folder for folder in SUFFIXES if folder != 'label_2' or split != 'test']
    return {folder: f'{part}/{folder}/{frame}{SUFFIXES[folder]}' for folder in folders}


def named_files(splits: Mapping[str, Sequence[str]]) -> list[str]:
    """Every file of some splits, below the root."""
    return [file for split, frames in splits.items() for frame in frames for file in files_of(split, frame).values()]


def file_fault(path: Path) -> str | None:
    """Say what is wrong with a file of the benchmark.

    Sizes of scans, headers of images and the whole text of calibrations and labels are looked at.

    Args:
        path (Path): In a folder named as the benchmark names it.

    Returns:
        str | None: ``'missing'``, ``'without Tr_velo_to_cam'``, ... or None if nothing is wrong.
    """
    kind = path.parent.name
    if kind == 'label_2':  # an empty one is of a frame without objects
        return label_fault(path.read_text(errors='replace')) if path.is_file() else 'missing'
    fault = size_fault(path, BYTES_PER_POINT if kind == 'velodyne' else 1)
    if fault or kind == 'velodyne':
        return fault
    if kind == 'calib':
        return calibration_fault(path.read_text(errors='replace'))
    try:
        Image.open(path).close()
    except (UnidentifiedImageError, OSError) as error:
        return f'no image: {error}'
    return None


def calibration_fault(text: str) -> str | None:
    """Say what is wrong with a calibration; its matrices must stand in the benchmark's order."""
    rows = [row.split() for row in text.splitlines() if row.strip()]
    names = [row[0].rstrip(':') for row in rows]
    if lacking := [name for name in MATRICES if name not in names]:
        return f'without {", ".join(lacking)}'
    if names != list(MATRICES):
        return f'rows {", ".join(names)} instead of {", ".join(MATRICES)}'
    for name, row in zip(names, rows):
        if len(_finite(row[1:])) != MATRICES[name] or len(row) != MATRICES[name] + 1:
            return f'{name} is not {MATRICES[name]} finite numbers'
    return None


def label_fault(text: str) -> str | None:
    """Say what is wrong with a frame's labels."""
    regions = 0
    for number, line in enumerate(text.splitlines(), 1):
        name, *values = line.strip().split(' ')
        if (columns := len(line.split())) != LABEL_COLUMNS:
            return f'row {number} has {columns} columns instead of {LABEL_COLUMNS}'
        if len(values) != LABEL_COLUMNS - 1:  # mmdet3d's converter splits at each blank, and at nothing else
            return f'row {number} has something else than one blank between columns'
        if name not in (*TYPES, DONT_CARE):
            return f'row {number} is of the unknown class {name}'
        numbers = _finite(values)
        if len(numbers) != len(values):
            return f'row {number}, a {name}, has a value that is NaN, infinite or no number'
        if name == DONT_CARE:
            regions += 1
        elif min(numbers[7:10]) < 0:
            return f'row {number}, a {name}, has a negative size'
        elif regions:  # mmdet3d's converter takes the first rows for the objects
            return f'row {number}, a {name}, comes after a {DONT_CARE} region'
    return None


def _finite(values: Sequence[str]) -> list[float]:
    numbers = []
    for value in values:
        try:
            numbers.append(float(value))
        except ValueError:
            continue
    return [number for number in numbers if math.isfinite(number)]
