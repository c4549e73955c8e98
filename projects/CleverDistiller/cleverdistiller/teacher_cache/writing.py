"""Filling a cache of teacher features: shard by shard, each whole or absent, from any number of processes."""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.structures import TeacherFeatures
from cleverdistiller.teacher_cache.cache_record import CACHE_FILE, CacheRecord
from cleverdistiller.teacher_cache.forms import decode, encode, fit_basis, relative_error
from cleverdistiller.teacher_cache.shard import ImageFile, Shard, state_of
from cleverdistiller.teacher_cache.teacher_cache import BASIS_FILE

GIB = 2**30
WAIT_S = 3600.0  # for the first process to measure its sample
HEADER_BYTES = 512  # of a shard, for each image

Look = Callable[[Tensor], TeacherFeatures]  # (n, 3, H, W) uint8 to features on any device


@contextmanager
def clear_write_errors(folder: Path) -> Iterator[None]:
    """Turn a full or unwritable disk into a clear error."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f'{folder}, where nothing more can be written ({error.strerror})',
            'a writable folder with room',
            'mend that and give the same command again: all complete shards are kept',
        ) from error


def begin_cache(
    folder: Path, wanted: CacheRecord, is_first: bool, sample: Callable[[], TeacherFeatures]
) -> CacheRecord:
    """Settle what all processes write by; the first one measures and writes ``cache.json``, the others wait for it.

    Args:
        folder (Path): Of the cache; made when needed.
        wanted (CacheRecord): What is to be written.
        is_first (bool): Whether this is the first process.
        sample (Callable[[], TeacherFeatures]): Gives features of some images, for the basis and the error.

    Returns:
        CacheRecord: With what was measured; that of the cache where one was begun before.

    Raises:
        InputError: If the cache was begun otherwise, or the first process does not come.
    """
    patience_ends = time.monotonic() + WAIT_S
    while not (folder / CACHE_FILE).is_file():
        if is_first:
            said = sample()
            with clear_write_errors(folder):
                measured(folder, wanted, said).write(folder)
        elif time.monotonic() > patience_ends:
            raise InputError(f'no {folder / CACHE_FILE}', 'the one of rank 0', 'start all ranks together')
        else:
            time.sleep(0.5)
    record = CacheRecord.read(folder)
    record.check_resumed(wanted, folder)
    return record


def measured(folder: Path, wanted: CacheRecord, said: TeacherFeatures) -> CacheRecord:
    """Add to a record what a sample of images tells: types and shapes, the basis, and the error of keeping.

    Where a basis is fitted, the error is that of images which had no part in it.

    Args:
        folder (Path): For the basis.
        wanted (CacheRecord): What is to be written.
        said (TeacherFeatures): Of the sample.

    Returns:
        CacheRecord: Complete.
    """
    features, basis, digest = said.named(), {}, None
    if wanted.form == 'pca':
        basis = fit_basis({name: values[::2] for name, values in features.items()}, wanted.components)
        content = save(basis)
        digest = hashlib.sha256(content).hexdigest()
        with replace_when_complete(folder / BASIS_FILE) as temporary:
            temporary.write_bytes(content)
        if len(said) > 1:
            features = {name: values[1::2] for name, values in features.items()}
    kept = encode(features, wanted.form, basis)
    found = [
        decode({name: values[row] for name, values in kept.items()}, wanted.form, basis)
        for row in range(len(kept['patches']))
    ]
    return replace(
        wanted,
        tensors={
            name: dict(dtype=str(values.dtype).removeprefix('torch.'), shape=list(values.shape[1:]))
            for name, values in kept.items()
        },
        relative_error={
            name: relative_error(torch.stack([each[name] for each in found]), values.cpu())
            for name, values in features.items()
        },
        basis_sha256=digest,
    )


def unfinished_shards(
    folder: Path, record: CacheRecord, numbers: Iterable[int], verify: Callable[[Shard], None] | None
) -> dict[int, str]:
    """Which shards are to be written, and why.

    Args:
        folder (Path): Of the cache.
        record (CacheRecord): Of the cache.
        numbers (Iterable[int]): Those of this process.
        verify (Callable[[Shard], None] | None): Raises an InputError for a shard whose content is not what it was.

    Returns:
        dict[int, str]: Number to the fault; empty for a shard that was never written.
    """
    faults = {}
    for number in numbers:
        path = folder / Shard.name(number)
        if not path.is_file():
            faults[number] = ''
            continue
        try:
            shard = Shard.open(path, record.images_of(number), record.tensors, record.cache_id)
            if verify:
                verify(shard)
        except InputError as error:
            faults[number] = str(error).partition('\n')[0]
    return faults


def verify_shard(shard: Shard, data_root: str, cache_id: str, done: Callable[[], object]) -> None:
    """Read all of a shard and all of its images; where images have other times but the same content, keep these times.

    Args:
        shard (Shard): Of the cache.
        data_root (str): What its images are relative to.
        cache_id (str): Of the cache.
        done (Callable[[], object]): Called after each image.

    Raises:
        InputError: If a row or an image is not what it was, or the disk is full.
    """
    rows, images = [], []
    for row, image in enumerate(shard.images):
        path = Path(data_root) / image.name
        mtime_ns = state_of(path)[1]  # before the content, so that no change in between is missed
        image.check(str(path))
        images.append(replace(image, mtime_ns=mtime_ns))
        rows.append(shard.read(row))
        done()
    if images != list(shard.images):
        tensors = {name: torch.stack([each[name] for each in rows]) for name in rows[0]}
        with clear_write_errors(shard.path.parent):
            Shard.write(shard.path, tensors, images, cache_id)


def check_room(folder: Path, record: CacheRecord, num_images: int) -> tuple[float, float]:
    """Refuse to begin what does not fit.

    Args:
        folder (Path): Of the cache.
        record (CacheRecord): Of the cache.
        num_images (int): Whose features are to be written, by all processes together.

    Returns:
        tuple[float, float]: GiB that they take, and GiB that are free.

    Raises:
        InputError: If there is less room.
    """
    needed, free = num_images * (record.bytes_per_image + HEADER_BYTES), shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f'{folder} with {free / GIB:.2f} GiB free',
            f'{needed / GIB:.2f} GiB for the features of {num_images} images',
            'free some space, choose another --out, or --form int8 (half) or pca (less)',
        )
    return needed / GIB, free / GIB


def write_shards(
    folder: Path,
    record: CacheRecord,
    numbers: Sequence[int],
    batches: Iterable[tuple[Tensor, list[ImageFile]]],
    look: Look,
    basis: Mapping[str, Tensor],
    done: Callable[[int], object],
) -> None:
    """Write shards, one after the other.

    Args:
        folder (Path): Of the cache.
        record (CacheRecord): Of the cache.
        numbers (Sequence[int]): Which.
        batches (Iterable[tuple[Tensor, list[ImageFile]]]): Their images (n, 3, H, W) uint8, in order; no batch reaches
            into another shard.
        look (Callable): Asks the teacher.
        basis (Mapping[str, Tensor]): Of ``pca``.
        done (Callable[[int], object]): Told the number of images after each batch.

    Raises:
        InputError: If a feature does not fit into float16, or the disk is full.
    """
    batches = iter(batches)
    for number in numbers:
        parts, files = [], []
        while len(files) < len(record.images_of(number)):
            images, of = next(batches)
            parts.append(encode(look(images).named(), record.form, basis))
            files += of
            done(len(of))
        tensors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        with clear_write_errors(folder):
            Shard.write(folder / Shard.name(number), tensors, files, record.cache_id)
