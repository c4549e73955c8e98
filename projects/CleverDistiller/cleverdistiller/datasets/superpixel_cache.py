"""Superpixels of camera images, computed once and kept as PNGs."""

import hashlib
import io
import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import skimage
from mmengine.logging import print_log
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import BROKEN_IMAGE, replace_when_complete, to_rgb
from cleverdistiller.ops.superpixels import MAX_SUPERPIXELS, slic_superpixels

PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
MADE_FROM = ('settings', 'image_sha256')  # text chunks that must be as expected


@dataclass(frozen=True)
class SlicSettings:
    """What is asked of SLIC; SLidR's values.

    Args:
        num_segments (int): About so many superpixels an image.
        compactness (float): Weight of nearness against colour.
        sigma (float): Smoothing before, pixels of the stored image.

    Raises:
        InputError: If a value makes no sense.
    """

    num_segments: int = 150
    compactness: float = 6.0
    sigma: float = 3.0

    def __post_init__(self) -> None:
        if not (0 < self.num_segments < MAX_SUPERPIXELS and self.compactness > 0 and self.sigma >= 0):
            raise InputError(
                str(self),
                f'num_segments between 1 and {MAX_SUPERPIXELS - 1}, compactness above 0, sigma not below 0',
                'correct LoadSuperpixels in the config',
            )

    def to_json(self) -> str:
        return json.dumps({name: float(value) for name, value in asdict(self).items()}, sort_keys=True)


class SuperpixelCache:
    """A folder with the superpixels of images at their stored size, one lossless PNG each.

    A PNG is named after its settings and its image's path as seen from the folder, so a data set that holds both can
    be moved. In its text chunks are the settings and the SHA-256 of the image file: unlike size and time of change it
    survives copying, and the file is read for training anyway.

    Args:
        folder (str | Path): Made when needed.
        settings (SlicSettings): What is asked of SLIC.
    """

    def __init__(self, folder: str | Path, settings: SlicSettings) -> None:
        self.folder = Path(folder)
        self.settings = settings

    def path_of(self, img_path: str) -> Path:
        """Where the superpixels of an image are, or will be."""
        name = f'{os.path.relpath(img_path, self.folder)}\n{self.settings.to_json()}'
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        return self.folder / digest[:2] / f'{digest}.png'  # many thousand files in one folder are slow

    def load(self, img_path: str) -> np.ndarray:
        """Read an image's superpixels, or compute them where they are missing, damaged or of another image.

        Args:
            img_path (str): The image.

        Returns:
            np.ndarray: (H, W) uint8, ids from 0 on; H x W is the image's stored size.

        Raises:
            InputError: If the image cannot be read, or the folder cannot be written.
        """
        content, path = _read_image_file(img_path), self.path_of(img_path)
        made_from = dict(settings=self.settings.to_json(), image_sha256=hashlib.sha256(content).hexdigest())
        kept = _read_if_valid(path, made_from, _size_hw(content, img_path))
        if kept is not None:
            return kept
        superpixels = slic_superpixels(_decode(content, img_path), **asdict(self.settings))
        try:
            write_superpixels(path, superpixels, dict(made_from, Software=f'scikit-image {skimage.__version__}'))
        except OSError as error:
            raise InputError(
                f'{path}, which cannot be written ({error.strerror})',
                'a writable folder with room for 50 kB an image',
                'set cache_dir of LoadSuperpixels to another folder',
            ) from error
        return superpixels


def read_superpixels(path: Path) -> tuple[np.ndarray, dict[str, str]] | None:
    """Read what :func:`write_superpixels` wrote.

    Args:
        path (Path): The PNG.

    Returns:
        tuple[np.ndarray, dict[str, str]] | None: (H, W) uint8 and what they were made from; None if the file is
        damaged.

    Raises:
        OSError: If it cannot be read.
    """
    content = path.read_bytes()
    if not is_whole_png(content):
        return None
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image), {name: image.info.get(name) for name in MADE_FROM}


def is_whole_png(content: bytes) -> bool:
    """Whether each chunk of a PNG fits its checksum, down to the last. PIL checks none of those of the pixels."""
    if not content.startswith(PNG_SIGNATURE):
        return False
    start, kind = len(PNG_SIGNATURE), b''
    while kind != b'IEND':
        length = int.from_bytes(content[start : start + 4], 'big')
        kind, end = content[start + 4 : start + 8], start + 8 + length
        if zlib.crc32(content[start + 4 : end]).to_bytes(4, 'big') != content[end : end + 4]:
            return False
        start = end + 4
    return start == len(content)


def write_superpixels(path: Path, superpixels: np.ndarray, info: dict[str, str]) -> None:
    """Write superpixels so that they are whole or absent, whoever else writes them at the same time.

    Args:
        path (Path): The PNG.
        superpixels (np.ndarray): (H, W) uint8.
        info (dict[str, str]): For its text chunks.
    """
    chunks = PngInfo()
    for name, text in info.items():
        chunks.add_text(name, text)
    with replace_when_complete(path) as temporary:
        Image.fromarray(superpixels).save(temporary, format='PNG', pnginfo=chunks)


def _read_if_valid(path: Path, made_from: dict[str, str], size_hw: tuple[int, int]) -> np.ndarray | None:
    """Superpixels that are whole and made from this; None, with a line in the log unless they were never made."""
    try:
        kept = read_superpixels(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        fault = f'cannot be read ({error.strerror})'
    else:
        if kept and (kept[0].dtype, kept[0].shape, kept[1]) == (np.uint8, size_hw, made_from):
            return kept[0]
        fault = 'was made from another image or with other settings' if kept else 'is damaged'
    print_log(f'{path} {fault}: the superpixels are computed again', logger='current', level=30)
    return None


def _read_image_file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _size_hw(content: bytes, path: str) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.height, image.width
    except BROKEN_IMAGE as error:
        raise _unreadable(path, error) from error


def _decode(content: bytes, path: str) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(to_rgb(image, path))
    except BROKEN_IMAGE as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> InputError:
    return InputError(
        f'{path}, which cannot be decoded ({error})', 'a whole JPEG or PNG image', 'download or copy it again'
    )
