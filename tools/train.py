"""Pretrain or fine-tune: mmdet3d's own packaged ``tools/train.py``, with one clear error for bad input.

python tools/train.py CONFIG [--work-dir DIR] [--resume [CHECKPOINT]] [--amp] [--cfg-options KEY=VALUE ...]
                             [--teacher-cache DIR]

With --teacher-cache, pretraining reads what tools/cache_teacher.py has written for CONFIG instead of images.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from mmengine.config import Config

from _packaged import ConfigOptions, clear_errors, run_packaged_tool
from cleverdistiller.engine.cached_config import with_teacher_cache
from cleverdistiller.errors import InputError


def write_cached_config(arguments: list[str], folder: str) -> list[str]:
    """Write the config of a command line with ``--teacher-cache`` anew, its ``--cfg-options`` merged first.

    Args:
        arguments (list[str]): Of this script.
        folder (str): Where the config goes, under its own name: the packaged tool calls the work dir after it.

    Returns:
        list[str]: For the packaged tool; as they came where no cache is asked for.

    Raises:
        InputError: If the config does not come first, or is none for pretraining.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument('config', nargs='?')
    parser.add_argument('--teacher-cache', metavar='DIR')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, default={})
    args, others = parser.parse_known_args(arguments)
    if args.teacher_cache is None:
        return arguments
    if args.config is None or args.config != arguments[0]:
        raise InputError(
            ' '.join(arguments),
            'CONFIG before all options',
            'python tools/train.py CONFIG --teacher-cache DIR ...',
        )
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    path = Path(folder) / Path(args.config).name
    with_teacher_cache(cfg, args.teacher_cache).dump(path)
    print(f'{args.config} with the teacher features of {args.teacher_cache} in the place of images', flush=True)
    return [str(path), *others]


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as folder:
        with clear_errors():
            sys.argv[1:] = write_cached_config(sys.argv[1:], folder)
        run_packaged_tool('train.py')
