from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from logging import WARNING
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import read_checkpoint
from cleverdistiller.structures import TeacherFeatures
from cleverdistiller.teacher_cache.cache_record import TOOL, CacheRecord
from cleverdistiller.teacher_cache.forms import decode
from cleverdistiller.teacher_cache.shard import ImageFile, Shard, state_of

BASIS_FILE = 'basis.safetensors'


class TeacherCache:
    """Reads the teacher's features of images from a folder that ``tools/cache_teacher.py`` has filled.

    Every read is checked against its checksum. An image file is compared by size and time of change with what it was
    when its features were written; where the time differs, as in a copy of the data, its checksum decides, once in a
    process.

    Args:
        folder (str | Path): With ``cache.json``.
        data_root (str): What the cache's images are relative to.

    Raises:
        InputError: If the cache is missing, incomplete or damaged.
    """

    def __init__(self, folder: str | Path, data_root: str = '') -> None:
        self.folder = Path(folder)
        self.data_root = data_root
        self.record = CacheRecord.read(folder)
        self.basis = read_basis(self.folder, self.record)
        self._row = {name: row for row, name in enumerate(self.record.images)}
        self._shards: dict[int, tuple[tuple[int, int], Shard]] = {}
        self._as_before: dict[str, tuple[int, int]] = {}  # images whose time differs, but not their content
        names = [Shard.name(number) for number in range(self.record.num_shards)]
        absent = [name for name in names if not (self.folder / name).is_file()]
        if absent:
            raise InputError(
                f'{folder} without {len(absent)} of its {len(names)} shards, such as {absent[0]}',
                'a complete cache',
                f'run {TOOL} again with the same arguments: it goes on where it stopped',
            )

    def load(self, img_paths: Sequence[str]) -> tuple[TeacherFeatures, np.ndarray]:
        """Read the features of some images.

        Args:
            img_paths (Sequence[str]): V paths.

        Returns:
            tuple[TeacherFeatures, np.ndarray]: Of V images, float16; and (V, 2) int64, rows and columns of the stored
            images.

        Raises:
            InputError: If an image is not in the cache or has changed, or a shard is damaged.
        """
        kept, sizes = zip(*map(self._load, img_paths))
        features = {name: torch.stack([each[name] for each in kept]) for name in kept[0]}
        return TeacherFeatures.from_named(features, self.record.cache_id), np.array(sizes)

    def _load(self, img_path: str) -> tuple[dict, tuple[int, int]]:
        name = os.path.relpath(img_path, self.data_root or '.')
        if name not in self._row:
            raise InputError(
                f'{img_path}, which is not among the {len(self._row)} images of {self.folder}',
                f'an image of the training set that it was made for, such as {self.record.images[0]}',
                f'run {TOOL} with this config, into another folder; if the data moved, correct data_root',
            )
        number, row = divmod(self._row[name], self.record.shard_size)
        shard = self._shard(number)
        self._check_image(img_path, shard.images[row])
        return decode(shard.read(row), self.record.form, self.basis), shard.images[row].native_size_hw

    def _shard(self, number: int) -> Shard:
        """A shard whose header was checked, once unless the file changes."""
        path = self.folder / Shard.name(number)
        state = state_of(path)
        if self._shards.get(number, (None,))[0] != state:
            shard = Shard.open(path, self.record.images_of(number), self.record.tensors, self.record.cache_id)
            self._shards[number] = state, shard
        return self._shards[number][1]

    def _check_image(self, path: str, image: ImageFile) -> None:
        state = state_of(path)
        if state in ((image.num_bytes, image.mtime_ns), self._as_before.get(path)):
            return
        image.check(path)
        if not self._as_before:
            print_log(
                f'{path} has the content, but not the time of change that {self.folder} keeps of it, as after a copy: '
                f'such images are read once more in each process, until {TOOL} with --verify has kept the new times',
                logger='current',
                level=WARNING,
            )
        self._as_before[path] = state


def read_basis(folder: Path, record: CacheRecord) -> Mapping[str, torch.Tensor]:
    """The principal components of a cache; empty for a form without.

    Raises:
        InputError: If they are missing or damaged.
    """
    if record.basis_sha256 is None:
        return {}
    path = folder / BASIS_FILE
    basis = read_checkpoint(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != record.basis_sha256:
        raise InputError(f'{path}, which is damaged', 'the basis that the shards were written with', 'make it again')
    return basis
