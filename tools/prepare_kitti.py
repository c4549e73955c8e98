"""Prepare KITTI's object detection benchmark: info files, scans cropped to the image, ground-truth database.

python tools/prepare_kitti.py ROOT [--out DIR] [--splits-from LISTS] [--drop-nan]

ROOT holds training/{velodyne,image_2,calib,label_2} and, if you want to predict for the test server,
testing/{velodyne,image_2,calib}. Its splits are those of ROOT/ImageSets/{train,val,test}.txt; a ROOT without
ImageSets, as it is downloaded, has the usual ones (3,712 and 3,769 frames). --splits-from names another folder of
lists, of which only train.txt must be there.

Every file is checked first: that it is there, values of scans, headers of images, rows of calibrations, classes and
numbers of labels; and that they belong together: each camera sees points of its scan, boxes are in the image and hold
points. If one is bad, nothing is written. --drop-nan leaves out rows of scans that are NaN or infinite, which are
refused otherwise. Then come, below DIR (default: ROOT),

  training/velodyne_reduced, testing/velodyne_reduced   0.35 MB a frame, 5 GB in all
  kitti_gt_database/FRAME_TYPE_NUMBER.bin               points of each object of the training split
  kitti_infos_{train,val,trainval,test}.pkl, kitti_dbinfos_train.pkl

with the five .pkl files last and together. It ends with what it saw, and warns of what is unlikely. A run that was
killed is simply started again. If DIR is not ROOT, it gets links to ROOT's folders, so that it serves as a root
itself. Few-label runs need no files of their own: give a frame list to the dataset (configs/splits/kitti).
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from _packaged import clear_errors
from cleverdistiller.datasets.file_checks import find_faults, refuse_faults
from cleverdistiller.datasets.info_file import write_infos
from cleverdistiller.datasets.kitti_files import SUFFIXES, file_fault, named_files, read_splits
from cleverdistiller.datasets.kitti_infos import build_database, build_infos, join_infos, prepare_frame
from cleverdistiller.datasets.kitti_plausibility import FrameFacts, has_boxes_px, look_at_frame, report
from cleverdistiller.errors import InputError
from cleverdistiller.provenance import pass_the_mark_on, refuse_unfinished

OFFICIAL_TRAIN = Path(__file__).parent.parent / 'configs' / 'splits' / 'kitti' / 'train.txt'


def prepare(root: Path, out: Path | None = None, lists: Path | None = None, drop_nan: bool = False) -> dict[Path, int]:
    """Check the download, write what training needs, and say what was seen.

    Args:
        root (Path): Folder of the benchmark.
        out (Path | None): Where to write; None for ``root``.
        lists (Path | None): Folder of lists of frames; None for ``root/ImageSets`` or the usual splits.
        drop_nan (bool): Leave rows of scans out that are NaN or infinite.

    Returns:
        dict[Path, int]: The info files, each with its number of frames, then the database's, with its objects.

    Raises:
        InputError: If lists or files are missing or damaged, if scans, calibrations and labels do not belong together,
            or if ``out`` cannot be written.
    """
    out = out or root
    refuse_unfinished(root)
    splits = read_splits(root, lists, OFFICIAL_TRAIN)
    files = named_files(splits)
    refuse_faults(root, find_faults(files, lambda name: file_fault(root / name), 'KITTI'), len(files))
    facts = look_at_frames(root, splits, drop_nan)
    lines, doubts = report(facts)
    with_boxes_px = has_boxes_px(facts)
    infos, objects = {}, []
    try:
        link_originals(root, out)
        for split, frames in splits.items():
            prepared = [
                prepare_frame(root, out, split, frame, with_boxes_px)
                for frame in tqdm(frames, desc=f'{split} frames', unit='frame')
            ]
            infos[split] = [info for info, _ in prepared]
            objects += [one for _, found in prepared for one in found]
    except OSError as error:
        raise InputError(
            f'{error.filename or out}, which cannot be written ({error.strerror})',
            'a writable folder with space',
            'choose another with --out, or make room and run the same command again',
        ) from error
    infos = {split: build_infos(rows) for split, rows in infos.items()}
    infos['trainval'] = join_infos([infos[split] for split in ('train', 'val') if split in infos])
    contents = {out / f'kitti_infos_{split}.pkl': content for split, content in infos.items()}
    counts = {path: len(content['data_list']) for path, content in contents.items()}
    database = out / 'kitti_dbinfos_train.pkl'
    write_infos({**contents, database: build_database(objects)})
    print(*lines, *(f'WARNING: {doubt}' for doubt in doubts), sep='\n')
    return {**counts, database: len(objects)}


def look_at_frames(root: Path, splits: Mapping[str, Sequence[str]], drop_nan: bool) -> list[FrameFacts]:
    """Look at each frame once, though two splits may list it; refuse all whose values cannot be."""
    facts, faults = [], {}
    frames = {(split == 'test', frame): split for split, listed in splits.items() for frame in listed}
    for (_, frame), split in tqdm(frames.items(), desc='checking values', unit='frame'):
        seen = look_at_frame(root, split, frame, drop_nan)
        if isinstance(seen, FrameFacts):
            facts.append(seen)
        else:
            faults.update([seen])
    hint = 'If they are as they came, correct them'
    if any('NaN' in fault for fault in faults.values()):
        hint += '; --drop-nan leaves out rows that are NaN or infinite'
    refuse_faults(root, faults, len(frames), hint)
    return facts


def link_originals(root: Path, out: Path) -> None:
    """Make ``out`` a root of its own: links to the benchmark's folders, and the mark of simulated data."""
    out.mkdir(parents=True, exist_ok=True)
    if out.samefile(root):
        return
    for original in (root / part / folder for part in ('training', 'testing') for folder in SUFFIXES):
        link = out / original.relative_to(root)
        if original.is_dir() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(original.resolve(), target_is_directory=True)
    pass_the_mark_on(root, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path)
    parser.add_argument('--out', type=Path, metavar='DIR', help='where to write; default: ROOT')
    parser.add_argument('--splits-from', type=Path, metavar='LISTS', help='folder of train.txt, val.txt, test.txt')
    parser.add_argument('--drop-nan', action='store_true', help='leave out rows of scans that are NaN or infinite')
    args = parser.parse_args()
    with clear_errors():
        written = prepare(args.root, args.out, args.splits_from, args.drop_nan)
    *infos, (database, objects) = written.items()
    for path, frames in infos:
        print(f'{frames:6d} frames: {path}')
    print(f'{objects:6d} objects: {database}')
    if not any(path.name.endswith('_test.pkl') for path, _ in infos):
        print(f'no test split: it needs {args.root}/testing and its list')


if __name__ == '__main__':
    main()
