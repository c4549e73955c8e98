"""Caches of made-up teacher features, written by the package without its tool."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cleverdistiller.datasets.image_batches import ImageBatches
from cleverdistiller.datasets.transforms import LoadCameraImages
from cleverdistiller.structures import TeacherFeatures
from cleverdistiller.teacher_cache import CacheRecord
from cleverdistiller.teacher_cache.teacher_cache import read_basis
from cleverdistiller.teacher_cache.writing import begin_cache, write_shards
from conftest import CAMERAS

SIZE_HW = (64, 128)
IMAGES = [f'{camera}_{frame}.jpg' for frame in range(4) for camera in CAMERAS]  # of conftest's frames_dir


def see(images: Tensor) -> TeacherFeatures:
    """A teacher that sees colours: (n, 6, 2, 4) patches, a block of twice that, and a token."""
    colours = F.adaptive_avg_pool2d(images.float(), (2, 4)) / 37
    patches = torch.cat([colours, colours.square() - 7], 1)
    return TeacherFeatures(patches, {-2: 2 * patches}, patches.mean((2, 3)))


def record_of(look: Callable = see, **changes) -> CacheRecord:
    """What is wanted of a cache, before anything was measured."""
    return CacheRecord(
        **dict(
            dict(
                teacher=dict(type='Seeing', depth=3),
                preprocessing=LoadCameraImages.preprocessing(SIZE_HW),
                features=list(look(torch.zeros(1, 3, *SIZE_HW, dtype=torch.uint8)).named()),
                form='fp16',
                components=None,
                shard_size=3,
                batch_size=2,
                device='cpu',
                versions={},
                images=IMAGES,
            ),
            **changes,
        )
    )


def batches_of(record: CacheRecord, shards: Sequence[int], frames: Path) -> list:
    """The images of shards, as the tool loads them."""
    names = []
    for shard in shards:
        images = record.images_of(shard)
        names += [images[i : i + record.batch_size] for i in range(0, len(images), record.batch_size)]
    return ImageBatches(names, str(frames), tuple(record.preprocessing['size_hw']))


def write_cache(folder: Path, frames: Path, look: Callable = see, **changes) -> CacheRecord:
    """A whole cache of the made-up frames."""
    wanted = record_of(look, **changes)

    def sample() -> TeacherFeatures:
        images = ImageBatches([wanted.images], str(frames), tuple(wanted.preprocessing['size_hw']))[0][0]
        return look(images)

    record = begin_cache(folder, wanted, True, sample)
    numbers = range(record.num_shards)
    batches, basis = batches_of(record, numbers, frames), read_basis(folder, record)
    write_shards(folder, record, numbers, iter(batches), look, basis, lambda count: None)
    return record
