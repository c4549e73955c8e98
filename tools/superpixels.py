"""Compute the superpixels of a training set beforehand, for SLidR.

python tools/superpixels.py CONFIG [--workers N] [--verify] [--cfg-options KEY=VALUE ...]

CONFIG has LoadSuperpixels in its training pipeline. Says first how many images have none. What is there is not computed
again: stop it at any time and give the same command once more. Training reads the same files, verifies each and
computes again what is damaged or whose image changed; --verify does that for all of them now.
"""

import argparse
import multiprocessing
import os
from collections.abc import Sequence
from functools import partial

from mmdet3d.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tqdm import tqdm

import cleverdistiller  # noqa: F401  (fills the registries)
from _packaged import ConfigOptions, clear_errors
from _training_images import images_of
from cleverdistiller.datasets.superpixel_cache import SuperpixelCache
from cleverdistiller.errors import InputError


def cache_of(cfg: Config) -> SuperpixelCache:
    """Where the training pipeline of a config looks for superpixels.

    Raises:
        InputError: If it does not.
    """
    steps = [step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'LoadSuperpixels']
    if not steps:
        raise InputError(
            f'{cfg.filename}, whose training loads no superpixels',
            'a config with LoadSuperpixels in its training pipeline',
            'give one of configs/pretrain/slidr_*.py',
        )
    return TRANSFORMS.build(steps[0]).cache


def load_all(cache: SuperpixelCache, images: Sequence[str], workers: int) -> None:
    """Compute or verify the superpixels of images, with a progress bar.

    Args:
        cache (SuperpixelCache): Where they go.
        images (Sequence[str]): Paths.
        workers (int): Processes.

    Raises:
        InputError: If an image cannot be read or the folder cannot be written.
    """
    with multiprocessing.Pool(workers) as pool:
        done = pool.imap_unordered(partial(_load, cache), images)
        for _ in tqdm(done, desc='superpixels', unit='image', total=len(images)):
            pass


def _load(cache: SuperpixelCache, img_path: str) -> None:
    cache.load(img_path)  # what it gives stays in the worker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), metavar='N', help='default: all processors')
    parser.add_argument('--verify', action='store_true', help='read those that are there, too')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, default={})
    args = parser.parse_args()
    with clear_errors():
        if args.workers < 1:
            raise InputError(f'--workers {args.workers}', '1 or more', 'leave it out to use all processors')
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(args.cfg_options)
        init_default_scope(cfg.default_scope)
        cache, images = cache_of(cfg), images_of(cfg)
        missing = [path for path in images if not cache.path_of(path).is_file()]
        print(f'{len(missing)} of {len(images)} images have no superpixels in {cache.folder}', flush=True)
        load_all(cache, images if args.verify else missing, args.workers)


if __name__ == '__main__':
    main()
