"""Make a segmentation set from Waymo's records: points and labels of each labelled frame, and mmdet3d v2 info files.

python tools/prepare_waymo_segmentation.py ROOT --out DIR [--splits training validation] [--shard I/N] [--workers W]

ROOT holds training/*.tfrecord and validation/*.tfrecord (perception, v1.3 or later). Writes
DIR/SPLIT/CONTEXT/points/MICROSECONDS.bin (float32 x, y, z, tanh(intensity); all LiDARs, both returns),
DIR/SPLIT/CONTEXT/labels/MICROSECONDS.label (uint8, Waymo's ids 0 to 22), about 3 MB a frame, and at last
DIR/waymo_infos_train.pkl and DIR/waymo_infos_val.pkl.

A run that was stopped goes on when the same command is given again; a record file of another size than before is done
again. Machines can share the work: --shard 0/4 takes every fourth record file, from the first; an info file is written
by whoever finds all record files of its split prepared. Needs waymo_open_dataset, which brings TensorFlow.
"""

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from _packaged import clear_errors
from cleverdistiller.datasets.info_file import write_infos
from cleverdistiller.datasets.waymo_record_files import SPLITS, shard_of, split_record_files
from cleverdistiller.datasets.waymo_segmentation_files import build_infos, prepare_files, prepared_frames
from cleverdistiller.errors import InputError
from cleverdistiller.provenance import pass_the_mark_on

MOST_WORKERS = 8  # by default: reading is what takes the time


def prepare(
    root: Path, out: Path, splits: Sequence[str] = tuple(SPLITS), shard: tuple[int, int] = (0, 1), workers: int = 1
) -> None:
    """Prepare a shard's record files, and write the info files of the splits that are complete then.

    Args:
        root (Path): Waymo's root.
        out (Path): Folder of the set.
        splits (Sequence[str]): Of ``SPLITS``.
        shard (tuple[int, int]): Which part of how many.
        workers (int): Processes.

    Raises:
        InputError: If record files are missing, damaged or without labels, or ``out`` cannot be written.
    """
    if workers < 1:
        raise InputError(f'--workers {workers}', '1 or more', 'leave it out')
    files = {split: split_record_files(root, split) for split in splits}
    part, parts = shard
    prepare_files([path for paths in files.values() for path in paths][part::parts], out, workers)
    pass_the_mark_on(root, out)
    infos, said = {}, []
    for split, sources in files.items():
        frames = {source: prepared_frames(source, out) for source in sources}
        missing = sum(names is None for names in frames.values())
        if missing:
            said.append(f'{split}: {missing} of {len(frames)} record files are not prepared yet, so no info file')
            continue
        path = out / f'waymo_infos_{SPLITS[split]}.pkl'
        infos[path] = build_infos(split, frames)
        labelled, bare = sum(map(len, frames.values())), sum(not names for names in frames.values())
        said.append(f'{split}: {labelled} labelled frames in {len(frames)} record files, {bare} with none: {path}')
    write_infos(infos)
    print(*said, sep='\n')
    if len(infos) < len(files):
        command = shlex.join(['python', 'tools/prepare_waymo_segmentation.py', str(root), '--out', str(out)])
        print(f'once the other shards are done, or instead of them: {command} --splits {" ".join(files)}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path)
    parser.add_argument('--out', type=Path, required=True, help='folder of the set')
    parser.add_argument('--splits', nargs='+', choices=tuple(SPLITS), default=tuple(SPLITS))
    parser.add_argument('--shard', default='0/1', metavar='I/N', help='take every Nth record file, from the Ith')
    parser.add_argument('--workers', type=int, default=min(MOST_WORKERS, os.cpu_count()), help='processes')
    args = parser.parse_args()
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # TensorFlow talks much
    os.environ.setdefault('TF_FORCE_GPU_ALLOW_GROWTH', 'true')  # and would take all memory of a GPU
    with clear_errors():
        prepare(args.root, args.out, tuple(dict.fromkeys(args.splits)), shard_of(args.shard), args.workers)


if __name__ == '__main__':
    main()
