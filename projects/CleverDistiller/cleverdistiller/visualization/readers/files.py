"""What the readers share: choosing a frame, opening its files, saying what is wrong with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import to_rgb, visible_paths

Frame = TypeVar('Frame')


def choose(frames: Sequence[Frame], index: int, root: Path) -> Frame:
    """The frame of that number.

    Raises:
        InputError: If there is none.
    """
    if not 0 <= index < len(frames):
        raise out_of_range(index, len(frames), root)
    return frames[index]


def out_of_range(index: int, count: int, root: Path) -> InputError:
    """The error for a frame that a root of ``count`` frames does not have."""
    expected = f'0 to {count - 1}' if count else 'a root with at least one frame'
    return InputError(f'frame {index} of {root}, which has {count}', expected, 'choose another --index')


def read_numbers(path: Path, dtype: type, columns: int) -> np.ndarray:
    """(N, columns) rows of a binary file.

    Raises:
        InputError: If it is missing or does not hold whole rows.
    """
    path = existing(path)
    row = np.dtype(dtype).itemsize * columns
    if path.stat().st_size % row:
        raise InputError(
            f'{path} of {path.stat().st_size} bytes', f'rows of {row} bytes', 'it is truncated: unpack it again'
        )
    return np.fromfile(path, dtype).reshape(-1, columns)


def read_picture(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB.

    Raises:
        InputError: If it is missing, no picture, or of 32-bit pixels.
    """
    try:
        return np.array(to_rgb(Image.open(existing(path)), path))
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f'{path} ({error})', 'a whole picture', 'it is damaged: unpack it again') from error


def record_files(root: Path) -> list[Path]:
    """Waymo's record files: ``root`` itself, or those in it and in its splits' folders, sorted."""
    if root.suffix == '.tfrecord':
        return [existing(root)]
    return sorted([*visible_paths(root, '*.tfrecord'), *visible_paths(root, '*/*.tfrecord')])


def square(matrix: np.ndarray) -> np.ndarray:
    """(4, 4) float64 from (3, 3) or (3, 4)."""
    result = np.eye(4)
    result[: matrix.shape[0], : matrix.shape[1]] = matrix
    return result


def existing(path: Path) -> Path:
    """``path`` itself.

    Raises:
        InputError: If there is no such file.
    """
    if not path.is_file():
        raise InputError(f'no {path}', 'every file of the frame', 'unpack the archive that holds it')
    return path
