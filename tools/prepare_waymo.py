"""Make a detection set from Waymo's records: points, mmdet3d v2 info files and a database of objects to paste.

python tools/prepare_waymo.py ROOT --out DIR [--splits training validation] [--returns 1|2] [--no-database]
                              [--shard I/N] [--workers W]

ROOT holds training/*.tfrecord and validation/*.tfrecord (perception, v1.3 or later, all LiDARs). Writes
DIR/SPLIT/CONTEXT/points/MICROSECONDS.bin (float32 x, y, z in the car's frame, intensity and elongation as recorded;
points in no-label zones are left out), DIR/gt_database (points of the training split's objects with five points or
more, each in a file), and at last DIR/waymo_infos_train.pkl, DIR/waymo_infos_val.pkl and DIR/waymo_dbinfos_train.pkl.
Boxes of signs and boxes without a point are left out; Waymo's difficulty levels are kept for its metric.

It first says how much disk and time it (or its shard) will take, measured on the first frames, and stops if the disk
is too small.
A run that was stopped goes on when the same command is given again; a record file of another size than before is done
again. Machines can share the work: --shard 0/4 takes every fourth record file, from the first; the files of a split
are listed by whoever finds all of its record files converted. Needs waymo_open_dataset, which brings TensorFlow.
"""

import argparse
import os
import shlex
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from _packaged import clear_errors
from cleverdistiller.datasets.info_file import write_infos
from cleverdistiller.datasets.waymo_detection_files import (
    DATABASE_SPLIT,
    Conversion,
    convert_file,
    database_file,
    info_file,
    join_parts,
    measure_cost,
    summary,
    unfinished,
)
from cleverdistiller.datasets.waymo_record_files import SPLITS, shard_of, split_record_files, work_through
from cleverdistiller.errors import InputError
from cleverdistiller.provenance import pass_the_mark_on

MOST_WORKERS = 8  # by default: reading is what takes the time


def prepare(
    root: Path,
    conversion: Conversion,
    splits: Sequence[str] = tuple(SPLITS),
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
) -> None:
    """Convert what of a shard is not converted yet; write info files and the database's index of complete splits.

    Args:
        root (Path): Waymo's root.
        conversion (Conversion): What to make, and where.
        splits (Sequence[str]): Of ``SPLITS``.
        shard (tuple[int, int]): Which part of how many.
        workers (int): Processes.

    Raises:
        InputError: If record files are missing, damaged or without boxes, or ``out`` cannot be written or is too small.
    """
    if workers < 1:
        raise InputError(f'--workers {workers}', '1 or more', 'leave it out')
    out = conversion.out
    sources = {split: split_record_files(root, split) for split in splits}
    part, parts = shard
    every = [path for paths in sources.values() for path in paths]
    own = every[part::parts]
    unconverted = unfinished(every, conversion)
    todo = sorted(set(own).intersection(unconverted))
    if todo:
        state_cost(todo, conversion, workers)
        work_through(own, todo, partial(convert_file, conversion=conversion), out, workers)
    pass_the_mark_on(root, out)
    others = set(unfinished(sorted(set(unconverted).difference(own)), conversion))
    contents, said = {}, []
    for split, paths in sources.items():
        if missing := len(others & set(paths)):
            said.append(f'{split}: {missing} of {len(paths)} record files are not converted yet, so no info file')
            continue
        infos, database = join_parts(split, paths, conversion)
        contents[info_file(split, out)] = infos
        said.append(f'{summary(split, infos)}: {info_file(split, out)}')
        if conversion.database and split == DATABASE_SPLIT:
            contents[database_file(out)] = database
            said.append(f'{sum(map(len, database.values()))} objects with five points or more: {database_file(out)}')
    write_infos(contents)
    print(*said, sep='\n')
    if others:
        command = ['python', 'tools/prepare_waymo.py', str(root), '--out', str(out), '--splits', *sources]
        command += ['--returns', str(conversion.returns), *([] if conversion.database else ['--no-database'])]
        print(f'once the other shards are done, or instead of them: {shlex.join(command)}')


def state_cost(todo: Sequence[Path], conversion: Conversion, workers: int) -> None:
    """Say what the work will take.

    Args:
        todo (Sequence[Path]): Record files to convert.
        conversion (Conversion): What to make of them.
        workers (int): Processes.

    Raises:
        InputError: If the disk is too small, or the first record file is damaged.
    """
    cost = measure_cost(todo, conversion)
    there = next(folder for folder in (conversion.out, *conversion.out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    print(
        f'{len(todo)} record files: about {_size(cost.out_bytes)} and {_duration(cost.seconds / workers)} with '
        f'{workers} processes, as measured on {cost.frames} frames; {_size(free)} are free in {conversion.out}'
    )
    if cost.out_bytes > free:
        raise InputError(
            f'{_size(free)} of free disk in {conversion.out}',
            f'about {_size(cost.out_bytes)}',
            'choose another --out, or --returns 1, --no-database, or fewer --splits; or link fewer record files into '
            'another ROOT',
        )


def _size(number: float) -> str:
    return f'{number / 1e9:.3g} GB'


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f'{hours} h {rest // 60} min' if hours else f'{rest // 60} min {rest % 60} s'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path)
    parser.add_argument('--out', type=Path, required=True, help='folder of the set')
    parser.add_argument('--splits', nargs='+', choices=tuple(SPLITS), default=tuple(SPLITS))
    parser.add_argument('--returns', type=int, choices=(1, 2), default=2, help="of the LiDARs' pulses (default: both)")
    parser.add_argument('--no-database', action='store_true', help='cut out no objects: nothing can be pasted then')
    parser.add_argument('--shard', default='0/1', metavar='I/N', help='take every Nth record file, from the Ith')
    parser.add_argument('--workers', type=int, default=min(MOST_WORKERS, os.cpu_count()), help='processes')
    args = parser.parse_args()
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # TensorFlow talks much
    os.environ.setdefault('TF_FORCE_GPU_ALLOW_GROWTH', 'true')  # and would take all memory of a GPU
    with clear_errors():
        conversion = Conversion(args.out, args.returns, not args.no_database)
        prepare(args.root, conversion, tuple(dict.fromkeys(args.splits)), shard_of(args.shard), args.workers)


if __name__ == '__main__':
    main()
