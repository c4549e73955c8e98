from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.teacher_cache.cache_record import BYTES, TOOL

STORED_AS = dict(float16='F16', float32='F32', int8='I8')  # safetensors' names
ROWS = 'rows'  # the only entry of the header's metadata: safetensors does not keep several in order
REMEDY = f'run {TOOL} again with --verify: it writes what is damaged or outdated, and nothing else'


@dataclass(frozen=True)
class ImageFile:
    """An image file as it was when the teacher looked at it.

    Args:
        name (str): Its path, relative to the data root.
        num_bytes (int): Its size.
        crc32 (int): Of its bytes.
        native_size_hw (tuple[int, int]): Rows and columns of the stored image.
        mtime_ns (int | None): When it was changed last, in nanoseconds; None in caches from before this was kept.
    """

    name: str
    num_bytes: int
    crc32: int
    native_size_hw: tuple[int, int]
    mtime_ns: int | None = None

    def check(self, path: str) -> None:
        """Compare a file's bytes.

        Raises:
            InputError: If the file is missing or is not what it was.
        """
        if checksum_of(path) != (self.num_bytes, self.crc32):
            raise InputError(f'{path}, which has changed since its features were cached', 'the same file', REMEDY)


@dataclass(frozen=True)
class Shard:
    """One file of a cache: the features of some images, each with a checksum.

    A safetensors file with a tensor for each kind of feature, one row an image. Rows are read by position, not through
    a memory map: a file cut short under a map kills the process, here it is an error.

    Args:
        path (Path): The file.
        images (tuple[ImageFile, ...]): Of each row.
        crc32 (dict[str, list[int]]): Of each row of each tensor.
        first_byte (dict[str, int]): Where each tensor begins.
        tensors (dict): Name to ``dtype`` and ``shape`` of a row.
    """

    path: Path
    images: tuple[ImageFile, ...]
    crc32: dict[str, list[int]]
    first_byte: dict[str, int]
    tensors: dict

    @staticmethod
    def name(number: int) -> str:
        return f'shard_{number:05d}.safetensors'

    @staticmethod
    def write(path: Path, tensors: Mapping[str, Tensor], images: Sequence[ImageFile], cache_id: str) -> None:
        """Write a shard, whole or not at all; the same bytes for the same content.

        Args:
            path (Path): The file.
            tensors (Mapping[str, Tensor]): (n, ...) each, contiguous, on the CPU.
            images (Sequence[ImageFile]): Of the n rows.
            cache_id (str): Which cache it belongs to.

        Raises:
            OSError: If there is no room for it.
        """
        rows = json.dumps(
            dict(
                cache_id=cache_id,
                images=[asdict(image) for image in images],
                crc32={name: [zlib.crc32(row.numpy()) for row in tensor] for name, tensor in tensors.items()},
            )
        )
        content = save(dict(tensors), {ROWS: f'{zlib.crc32(rows.encode()):08x}{rows}'})
        with replace_when_complete(path) as temporary:
            temporary.write_bytes(content)

    @staticmethod
    def open(path: Path, names: Sequence[str], tensors: Mapping[str, Mapping], cache_id: str) -> Shard:
        """Read and check a shard's header and size.

        Args:
            path (Path): The file.
            names (Sequence[str]): Of its images.
            tensors (Mapping[str, Mapping]): Name to ``dtype`` and ``shape`` of a row.
            cache_id (str): Which cache it must belong to.

        Returns:
            Shard: Ready for :meth:`read`.

        Raises:
            InputError: If the file is missing, cut short, damaged, or of another cache.
        """
        try:
            header, begin, end = _read_header(path)
            rows = json.loads(header.pop('__metadata__')[ROWS][8:])
            offsets = {name: stored['data_offsets'] for name, stored in header.items()}
            expected = {
                name: dict(
                    dtype=STORED_AS[row['dtype']], shape=[len(names), *row['shape']], data_offsets=offsets.get(name)
                )
                for name, row in tensors.items()
            }
            images = tuple(
                ImageFile(**dict(image, native_size_hw=tuple(image['native_size_hw']))) for image in rows['images']
            )
            whole = end == begin + max(stop for _, stop in offsets.values())
        except OSError as error:
            raise InputError(f'{path}, which cannot be read ({error.strerror})', 'a whole shard', REMEDY) from error
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(path, 'its header is no longer what was written') from error
        if rows['cache_id'] != cache_id:
            raise InputError(f'{path} of the cache {rows["cache_id"]}', f'one of {cache_id}, as its cache.json', REMEDY)
        if not whole:
            raise _damaged(path, 'it is cut short')
        if header != expected or [image.name for image in images] != list(names):
            raise _damaged(path, 'it does not hold what cache.json says')
        first_byte = {name: begin + start for name, (start, _) in offsets.items()}
        return Shard(path, images, rows['crc32'], first_byte, dict(tensors))

    def read(self, row: int) -> dict[str, Tensor]:
        """Read what is kept of one image, and check it.

        Args:
            row (int): From 0.

        Returns:
            dict[str, Tensor]: Name to tensor.

        Raises:
            InputError: If the file cannot be read or a bit is not what was written.
        """
        found = {}
        try:
            with open(self.path, 'rb', buffering=0) as file:
                for name, kept in self.tensors.items():
                    tensor = torch.empty(kept['shape'], dtype=getattr(torch, kept['dtype']))
                    content = tensor.numpy().reshape(-1).view(np.uint8)
                    file.seek(self.first_byte[name] + row * len(content))
                    if file.readinto(content) < len(content) or zlib.crc32(content) != self.crc32[name][row]:
                        raise _damaged(self.path, f'{name} of {self.images[row].name} fails its checksum')
                    found[name] = tensor
        except OSError as error:
            raise InputError(
                f'{self.path}, which cannot be read ({error.strerror})', 'a whole shard', REMEDY
            ) from error
        return found


def state_of(path: str | Path) -> tuple[int, int]:
    """Size and time of change of a file, in nanoseconds: what tells a change without reading it.

    Raises:
        InputError: If there is no such file.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise InputError(f'{path}, which cannot be read ({error.strerror})', 'a file', REMEDY) from error
    return found.st_size, found.st_mtime_ns


def checksum_of(path: str) -> tuple[int, int]:
    """Size and CRC-32 of an image file.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f'{path}, which cannot be read ({error.strerror})', 'the image', 'download or copy it again'
        ) from error
    return len(content), zlib.crc32(content)


def _read_header(path: Path) -> tuple[dict, int, int]:
    """The header's content with its checksum verified, the first byte after it and the size of the file."""
    with open(path, 'rb') as file:
        end = os.fstat(file.fileno()).st_size
        begin = 8 + int.from_bytes(file.read(8), 'little')
        if begin > end:
            raise ValueError('a header longer than the file')
        header = json.loads(file.read(begin - 8))
    told = header['__metadata__'][ROWS]
    if told[:8] != f'{zlib.crc32(told[8:].encode()):08x}':
        raise ValueError('a changed header')
    for stored in header.values():
        if 'data_offsets' in stored:
            start, stop = stored['data_offsets']
            size = {code: BYTES[name] for name, code in STORED_AS.items()}[stored['dtype']]
            if stop - start != size * math.prod(stored['shape']):
                raise ValueError('a changed header')
    return header, begin, end


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f'{path}, which is damaged: {why}', 'the bytes that were written', REMEDY)
