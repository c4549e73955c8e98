"""Index a nuScenes download: mmdet3d v2 info files, after a check of every file they name.

python tools/prepare_nuscenes.py ROOT [--version v1.0-trainval|v1.0-mini|v1.0-test] [--out DIR]
                                 [--max-sweeps 10] [--prefix nuscenes]

Writes {prefix}_infos_train.pkl and {prefix}_infos_val.pkl ({prefix}_infos_test.pkl for v1.0-test), or nothing
if a file is missing, empty or truncated. Pretraining reads keyframes only: with --max-sweeps 0 the sweeps
between keyframes need not be downloaded. No label is read and no ground-truth database is made.
"""

import argparse
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from _packaged import clear_errors
from cleverdistiller.datasets.file_checks import find_faults, refuse_faults, size_fault
from cleverdistiller.datasets.info_file import write_infos
from cleverdistiller.datasets.nuscenes_index import (
    OTHER_SWEEP,
    SPLITS,
    build_infos,
    check_tables,
    mask_fault,
    mask_files,
    masked_sweeps,
    named_files,
    open_nuscenes,
    row_bytes,
    split_samples,
)
from cleverdistiller.errors import InputError
from cleverdistiller.provenance import refuse_unfinished


def prepare(
    root: Path, version: str = 'v1.0-trainval', out: Path | None = None, max_sweeps: int = 10, prefix: str = 'nuscenes'
) -> dict[Path, int]:
    """Check the download and write its info files, all of them or none.

    Args:
        root (Path): nuScenes root.
        version (str): Which tables.
        out (Path | None): Where the info files go; None for ``root``.
        max_sweeps (int): Sweeps before each keyframe to list.
        prefix (str): Start of the files' names.

    Returns:
        dict[Path, int]: The files written, each with its number of frames.

    Raises:
        InputError: If tables or files are missing or damaged, or ``out`` cannot be written.
    """
    if max_sweeps < 0:
        raise InputError(f'--max-sweeps {max_sweeps}', '0 or more', 'use 0 to list none')
    refuse_unfinished(root)
    check_tables(root, version)
    # Before the tables are loaded, because nuscenes-devkit refuses them over a missing mask.
    check_files(root, mask_files(root, version), 'masks')
    print(f'loading the tables of {version} (v1.0-trainval: a minute)')
    nusc = open_nuscenes(root, version)
    samples = split_samples(nusc)
    check_files(root, named_files(nusc, chain(*samples.values()), max_sweeps), 'sweeps and images')
    masks = masked_sweeps(nusc)
    faults = find_faults(masks, lambda mask: mask_fault(root, mask, masks[mask]), 'masks against sweeps')
    refuse_faults(root, faults, len(masks))
    infos = {
        Path(out or root) / f'{prefix}_infos_{split}.pkl': build_infos(
            nusc, tqdm(rows, desc=f'{split} frames', unit='frame'), max_sweeps
        )
        for split, rows in samples.items()
    }
    write_infos(infos)
    return {path: len(content['data_list']) for path, content in infos.items()}


def check_files(root: Path, files: Mapping[str, str], title: str) -> None:
    """Refuse a download with missing, empty or truncated files.

    Args:
        root (Path): nuScenes root.
        files (Mapping[str, str]): File below ``root`` to what it is.
        title (str): For the progress bar.

    Raises:
        InputError: If any file is bad; counts them and names the first five.
    """
    faults = find_faults(files, lambda name: size_fault(root / name, row_bytes(files[name])), title)
    dispensable = all(files[name] == OTHER_SWEEP for name in faults)
    hint = 'Only sweeps between keyframes are bad: leave them out with --max-sweeps 0'
    refuse_faults(root, faults, len(files), hint if dispensable else '')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path)
    parser.add_argument('--version', choices=tuple(SPLITS), default='v1.0-trainval')
    parser.add_argument('--out', type=Path, help='folder of the info files; default: ROOT')
    parser.add_argument('--max-sweeps', type=int, default=10, help='sweeps to list before each keyframe')
    parser.add_argument('--prefix', default='nuscenes')
    args = parser.parse_args()
    with clear_errors():
        written = prepare(args.root, args.version, args.out, args.max_sweeps, args.prefix)
    for path, frames in written.items():
        print(f'{frames:6d} frames: {path}')


if __name__ == '__main__':
    main()
