"""Compute the teacher's features of every training image once; training then reads them instead of images.

python tools/cache_teacher.py CONFIG --out DIR [--form fp16 | int8 | pca] [--cfg-options KEY=VALUE ...]
python tools/train.py CONFIG --teacher-cache DIR

Says first how much it will write and how much is free. Stop it at any time and give the same command again: complete
shards are kept, and the result has the same bytes. On several GPUs: torchrun --nproc_per_node N tools/cache_teacher.py
CONFIG --out DIR. --verify reads what is there, and writes again what is damaged or whose image changed; where images
have other times than before but the same content, as in a copy of the data, it writes the new times.
"""

import argparse
import os
import os.path as osp
import shlex
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

import cleverdistiller  # noqa: F401  (fills the registries)
from _packaged import ConfigOptions, clear_errors
from _training_images import images_of
from cleverdistiller.datasets.image_batches import ImageBatches
from cleverdistiller.datasets.transforms import LoadCameraImages
from cleverdistiller.engine.cached_config import data_root_of, without_teacher_cache
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import remove_leftovers
from cleverdistiller.models.distillers import Distiller
from cleverdistiller.models.teachers.cached_teacher import teacher_identity
from cleverdistiller.provenance import versions
from cleverdistiller.structures import TeacherFeatures
from cleverdistiller.teacher_cache import CacheRecord, Shard
from cleverdistiller.teacher_cache.forms import FORMS
from cleverdistiller.teacher_cache.teacher_cache import read_basis
from cleverdistiller.teacher_cache.writing import (
    begin_cache,
    check_room,
    unfinished_shards,
    verify_shard,
    write_shards,
)

SAMPLE = 64  # images for the error, the basis and the estimate of time


def distiller_of(cfg: Config) -> Distiller:
    """Build the config's model as its training does, where a random teacher comes after the student.

    Raises:
        InputError: If an auxiliary needs the images themselves, or the pipeline mirrors or resizes them otherwise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.get('randomness', {}).get('seed') or 0)
        model = MODELS.build(cfg.model)
    [step] = [step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'LoadCameraImages']
    loader = LoadCameraImages(**{name: value for name, value in step.items() if name != 'type'})
    if model.needs_images:
        raise InputError(
            f'{cfg.filename} with an auxiliary that looks at the images itself',
            'one teacher, whose features are all that is needed',
            'train this config without a cache',
        )
    if loader.hflip_prob or loader.size_hw != tuple(model.teacher.image_size_hw):
        raise InputError(
            f'{loader} for a teacher of {model.teacher.image_size_hw}',
            'images of its size that are never mirrored',
            'correct size_hw, and set hflip_prob=0: a cached image cannot be mirrored',
        )
    return model


@torch.no_grad()
def look(model: Distiller, device: str, images: Tensor) -> TeacherFeatures:
    """Ask the teacher what the distiller asks it, (n, 3, H, W) uint8 as the data preprocessor brings them to 0..1."""
    images = images.to(device).float() / 255
    return model.teacher.look(images, model.teacher_blocks, model.needs_class_token)


def batches_of(images: list[str], size: int) -> list[list[str]]:
    """Cut a list into batches."""
    return [images[first : first + size] for first in range(0, len(images), size)]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--out', required=True, type=Path, metavar='DIR', help='folder of the cache')
    parser.add_argument('--form', choices=FORMS, default='fp16', help='fp16 (default), int8 (half of it), pca')
    parser.add_argument('--components', type=int, default=128, metavar='K', help='of pca (default 128)')
    parser.add_argument('--batch-size', type=int, default=32, metavar='N', help='images a pass (default 32)')
    parser.add_argument('--shard-size', type=int, default=256, metavar='N', help='images a file (default 256)')
    parser.add_argument('--workers', type=int, default=4, metavar='N', help='processes that load images (default 4)')
    parser.add_argument('--verify', action='store_true', help='read what is there, too')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, default={})
    args = parser.parse_args()
    for name, least in (('batch_size', 1), ('shard_size', 1), ('workers', 0)):
        if getattr(args, name) < least:
            raise InputError(f'--{name.replace("_", "-")} {getattr(args, name)}', f'{least} or more', 'correct it')
    return args


def wanted_record(args: argparse.Namespace, cfg: Config, model: Distiller, device: str) -> CacheRecord:
    """What is to be written, before anything was measured."""
    features = ['patches', *(f'block_{block}' for block in model.teacher_blocks)]
    return CacheRecord(
        teacher=teacher_identity(cfg.model.teacher, model.teacher),
        preprocessing=LoadCameraImages.preprocessing(model.teacher.image_size_hw),
        features=features + ['class_token'] * model.needs_class_token,
        form=args.form,
        components=args.components if args.form == 'pca' else None,
        shard_size=args.shard_size,
        batch_size=args.batch_size,
        device=device,
        versions=dict(versions(), timm=version('timm'), pillow=version('pillow')),
        images=[osp.relpath(path, data_root_of(cfg) or '.') for path in images_of(cfg)],
    )


def cache_teacher(args: argparse.Namespace) -> None:
    """Write this process's share of the cache."""
    rank, world = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    say = partial(print, flush=True) if rank == 0 else lambda text: None
    bar = partial(tqdm, unit='image')
    device = get_device()
    if device == 'cuda':
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)))

    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    cfg = without_teacher_cache(cfg)
    data_root = data_root_of(cfg)
    model = distiller_of(cfg)
    wanted = wanted_record(args, cfg, model, device)
    model.teacher.to(device)

    def load(batches: list[list[str]]) -> DataLoader:
        images = ImageBatches(batches, data_root, model.teacher.image_size_hw)
        return DataLoader(images, batch_size=None, num_workers=min(args.workers, len(batches)))

    def sample() -> TeacherFeatures:
        chosen = np.random.default_rng(0).permutation(wanted.images)[:SAMPLE].tolist()
        say(f'looking at {len(chosen)} of {len(wanted.images)} images first')
        start = time.perf_counter()
        said = [look(model, device, images).to('cpu') for images, _ in load(batches_of(chosen, args.batch_size))]
        minutes = (time.perf_counter() - start) / 60 / len(chosen) * len(wanted.images) / world
        say(f'all will take about {minutes:.0f} min' if minutes >= 1 else 'all will take less than a minute')
        return TeacherFeatures.collate(said)

    record = begin_cache(args.out, wanted, rank == 0, sample)
    say(record.told())
    mine = range(rank, record.num_shards, world)
    for number in mine:
        remove_leftovers(args.out, Shard.name(number))
    with bar(desc='verifying', total=len(record.images) // world, disable=rank or not args.verify) as progress:
        keys = dict(data_root=data_root, cache_id=record.cache_id, done=progress.update)
        check = partial(verify_shard, **keys) if args.verify else None
        faults = unfinished_shards(args.out, record, mine, check)
    for number, fault in faults.items():
        if fault:
            print(f'{Shard.name(number)} is written again: {fault}', flush=True)
    absent = {number for number in range(record.num_shards) if not (args.out / Shard.name(number)).is_file()}
    to_write = sum(len(record.images_of(number)) for number in absent | faults.keys())
    needed, free = check_room(args.out, record, to_write)
    say(f'{to_write} of {len(record.images)} images to write: {needed:.2f} GiB, {free:.2f} GiB are free')
    batches = [batch for number in faults for batch in batches_of(record.images_of(number), args.batch_size)]
    with bar(desc='features', total=sum(map(len, batches)), disable=bool(rank)) as progress:
        ask, basis = partial(look, model, device), read_basis(args.out, record)
        write_shards(args.out, record, list(faults), load(batches), ask, basis, progress.update)
    say(shlex.join(['python', 'tools/train.py', args.config, '--teacher-cache', str(args.out)]))


def main() -> None:
    with clear_errors():
        cache_teacher(parse_arguments())


if __name__ == '__main__':
    main()
