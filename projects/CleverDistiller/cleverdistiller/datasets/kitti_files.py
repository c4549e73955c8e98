"""KITTI's object detection benchmark as it is downloaded: frames of its splits, and the one parser of its text files.

The parser is as tolerant as the benchmark's own C: any white space parts columns, blank lines and the case of a class
do not matter, ``0.0`` is 0. What cannot be meant, such as a size of 0 or an angle in degrees, is refused by file and
row.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from cleverdistiller.datasets.file_checks import size_fault
from cleverdistiller.errors import InputError

TYPES = ('Pedestrian', 'Cyclist', 'Car', 'Van', 'Truck', 'Person_sitting', 'Tram', 'Misc')
DONT_CARE = 'DontCare'
_SPELLING = {name.lower(): name for name in (*TYPES, DONT_CARE)}
LABELLED_FRAMES, TEST_FRAMES = 7481, 7518
LABEL_COLUMNS = 15
BYTES_PER_POINT = 16  # float32 x, y, z, intensity
MATRICES = dict.fromkeys(('P0', 'P1', 'P2', 'P3', 'R0_rect', 'Tr_velo_to_cam', 'Tr_imu_to_velo'), (3, 4)) | dict(
    R0_rect=(3, 3)
)
# Matrices whose left part turns; ``Tr`` is SemanticKITTI's name. The others may be zero: nothing reads them.
ROTATIONS = ('R0_rect', 'Tr_velo_to_cam', 'Tr')
LARGEST_SIZE_M = 100.0
FARTHEST_M = 10_000.0
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


@dataclass(frozen=True)
class KittiLabels:
    """A label file, objects before DontCare regions, both in the order of the file.

    Args:
        name (np.ndarray): (N,) types, spelled as the benchmark does.
        truncated (np.ndarray): (N,) 0 to 1, -1 of regions.
        occluded (np.ndarray): (N,) int 0 to 3, -1 of regions.
        alpha (np.ndarray): (N,) angle of observation in radians.
        box_px (np.ndarray): (N, 4) left, top, right, bottom in the image.
        size_hwl_m (np.ndarray): (N, 3) height, width, length.
        bottom_cam_m (np.ndarray): (N, 3) middle of the bottom in the rectified camera frame.
        rotation_y (np.ndarray): (N,) radians.
    """

    name: np.ndarray
    truncated: np.ndarray
    occluded: np.ndarray
    alpha: np.ndarray
    box_px: np.ndarray
    size_hwl_m: np.ndarray
    bottom_cam_m: np.ndarray
    rotation_y: np.ndarray

    @property
    def is_object(self) -> np.ndarray:
        """(N,) False for DontCare regions."""
        return self.name != DONT_CARE


def read_labels(path: Path) -> KittiLabels:
    """Read a frame's labels.

    Args:
        path (Path): In ``label_2``.

    Raises:
        InputError: If the file is missing, or a row is not as the benchmark says.
    """
    return _read(path, parse_labels, f'rows of {LABEL_COLUMNS} columns, as the benchmark says')


def read_calibration(path: Path, shapes: Mapping[str, tuple[int, int]] = MATRICES) -> dict[str, np.ndarray]:
    """Read a calibration's matrices.

    Args:
        path (Path): Rows of ``name: numbers``.
        shapes (Mapping[str, tuple[int, int]]): The matrices that are read, in any order; other rows are left alone.

    Returns:
        dict[str, np.ndarray]: Name to matrix, float64, in the order of ``shapes``.

    Raises:
        InputError: If the file is missing, or a matrix is missing or impossible.
    """
    return _read(path, lambda text: parse_calibration(text, shapes), f'the matrices {", ".join(shapes)}')


def _read(path: Path, parse, expected: str):
    if not path.is_file():
        raise InputError(f'no {path}', 'every file of the frame', 'unpack the archive that holds it')
    try:
        return parse(read_text(path))
    except ValueError as error:
        raise InputError(f'{path}, {error}', expected, 'correct the file, or unpack its archive again') from error


def read_text(path: Path) -> str:
    """Text of a file, whatever its bytes, without a byte order mark."""
    return path.read_text(encoding='utf-8-sig', errors='replace')


def parse_labels(text: str) -> KittiLabels:
    """Read a label file's text.

    Raises:
        ValueError: Says which row is wrong, and in what.
    """
    names, numbers = [], []
    for row, line in enumerate(text.splitlines(), 1):
        if columns := line.split():
            name, values = _parse_label(row, columns)
            names.append(name)
            numbers.append(values)
    names, table = np.array(names, str), np.array(numbers, float).reshape(-1, LABEL_COLUMNS - 1)
    order = np.argsort(names == DONT_CARE, kind='stable')
    names, table = names[order], table[order]
    return KittiLabels(
        name=names,
        truncated=table[:, 0],
        occluded=table[:, 1].astype(int),
        alpha=table[:, 2],
        box_px=table[:, 3:7],
        size_hwl_m=table[:, 7:10],
        bottom_cam_m=table[:, 10:13],
        rotation_y=table[:, 13],
    )


def _parse_label(row: int, columns: Sequence[str]) -> tuple[str, list[float]]:
    if len(columns) != LABEL_COLUMNS:
        raise ValueError(f'row {row} has {len(columns)} columns instead of {LABEL_COLUMNS}')
    name = _SPELLING.get(columns[0].lower())
    if name is None:
        raise ValueError(f'row {row} is of the unknown class {columns[0]}')
    numbers = _finite(columns[1:])
    if len(numbers) != len(columns) - 1:
        raise ValueError(f'row {row}, a {name}, has a value that is NaN, infinite or no number')
    if fault := _label_fault(name, numbers):
        raise ValueError(f'row {row}, a {name}, has {fault}')
    return name, numbers


def _label_fault(name: str, numbers: Sequence[float]) -> str | None:
    """What of an object or a region cannot be; the 3D box of a region says nothing."""
    truncated, occluded, alpha, left, top, right, bottom, *box = numbers
    sizes, place, turn = box[:3], box[3:6], box[6]
    if not -1 <= truncated <= 1:
        return f'the truncation {truncated:g} instead of 0 to 1'
    if occluded not in (-1, 0, 1, 2, 3):
        return f'the occlusion {occluded:g} instead of 0, 1, 2 or 3'
    if right < left or bottom < top:
        return 'a box in the image whose right or lower side comes before the left or upper one'
    if name == DONT_CARE:
        return None
    if min(sizes) <= 0:
        return 'a size that is zero or negative'
    if max(sizes) > LARGEST_SIZE_M:
        return f'a size of {max(sizes):g} instead of metres'
    if max(map(abs, place)) > FARTHEST_M:
        return f'a place {max(map(abs, place)):g} m from the camera'
    if abs(turn) > 2 * math.pi + 0.01:
        return f'the rotation {turn:g}, which is no angle in radians'
    if abs(alpha) > 10:  # -10 is the benchmark's for none
        return f'alpha {alpha:g}, which is no angle in radians'
    return None


def parse_calibration(text: str, shapes: Mapping[str, tuple[int, int]] = MATRICES) -> dict[str, np.ndarray]:
    """Read a calibration's text; see :func:`read_calibration`.

    Raises:
        ValueError: Says which matrix is missing or wrong, and in what.
    """
    found = {}
    for line in text.splitlines():
        name, values = re.match(r'\s*([^\s:]*)\s*:?(.*)', line).groups()
        if name not in shapes:
            continue
        if name in found:
            raise ValueError(f'{name} comes twice')
        rows, columns = shapes[name]
        numbers = _finite(values.split())
        if len(numbers) != rows * columns or len(values.split()) != len(numbers):
            raise ValueError(f'{name} is not {rows * columns} finite numbers: {line.strip()[:60]}')
        found[name] = np.array(numbers).reshape(rows, columns)
    if lacking := [name for name in shapes if name not in found]:
        raise ValueError(f'without {", ".join(lacking)}')
    for name, matrix in found.items():
        if fault := _matrix_fault(name, matrix[:, :3]):
            raise ValueError(f'{name} {fault}')
    return {name: found[name] for name in shapes}


def _matrix_fault(name: str, left: np.ndarray) -> str | None:
    """What of a matrix's left part (3, 3) cannot be."""
    if name in ROTATIONS and not (np.abs(left @ left.T - np.eye(3)).max() < 0.1 and np.linalg.det(left) > 0):
        return 'does not turn: its first three columns are no rotation'
    if name == 'P2' and not (left[0, 0] > 0 and left[1, 1] > 0 and abs(np.linalg.det(left)) > 1e-6):
        return 'is no projection: its focal lengths are not positive, or its rows say the same'
    return None


def file_fault(path: Path) -> str | None:
    """Say what is wrong with a file of the benchmark.

    Sizes of scans, headers of images and the whole text of calibrations and labels are looked at.

    Args:
        path (Path): In a folder named as the benchmark names it.

    Returns:
        str | None: ``'missing'``, ``'without Tr_velo_to_cam'``, ... or None if nothing is wrong.
    """
    kind = path.parent.name
    if kind == 'label_2' and path.is_file():  # an empty one is of a frame without objects
        return _fault(parse_labels, path)
    fault = size_fault(path, BYTES_PER_POINT if kind == 'velodyne' else 1)
    if fault or kind == 'velodyne':
        return fault
    if kind == 'calib':
        return _fault(parse_calibration, path)
    try:
        Image.open(path).close()
    except (UnidentifiedImageError, OSError) as error:
        return f'no image: {error}'
    return None


def _fault(parse, path: Path) -> str | None:
    try:
        parse(read_text(path))
    except ValueError as error:
        return str(error)
    return None


def _finite(values: Sequence[str]) -> list[float]:
    numbers = []
    for value in values:
        try:
            numbers.append(float(value))
        except ValueError:
            continue
    return [number for number in numbers if math.isfinite(number)]
