"""Index a download of labelled LiDAR scans: mmdet3d v2 info files, after a check of every file they name.

python tools/prepare_segmentation.py semantickitti|scribblekitti|rellis3d|semanticstf|daps3d ROOT
                                     [--out DIR] [--prefix NAME]

ROOT holds
  semantickitti  sequences/00..10/{velodyne,labels}, and, if you want to predict for the test server,
                 sequences/11..21/velodyne
  scribblekitti  the same sequences/00..10, with scribbles/ beside velodyne/; labels/ is read for 08 only
  rellis3d       pt_train.lst, pt_val.lst, pt_test.lst and the folders 00000..00004 that they name
  semanticstf    {train,val,test}/{velodyne,labels}
  daps3d         data/00..10/{clouds,labels}: ROOT is the folder daps-1

Writes {prefix}_infos_train.pkl, {prefix}_infos_val.pkl and, where the dataset has a test split,
{prefix}_infos_test.pkl; or nothing if a sequence or a file is missing, empty or truncated, or if a label does
not have one row for each point of its scan. A root of tools/simulate.py need not have every sequence.
"""

import argparse
from itertools import chain
from pathlib import Path, PurePath

from _packaged import clear_errors
from cleverdistiller.datasets.file_checks import find_faults, refuse_faults
from cleverdistiller.datasets.info_file import write_infos
from cleverdistiller.datasets.scan_index import LAYOUTS, build_infos, file_fault, find_scans, named_files
from cleverdistiller.provenance import is_simulated, refuse_unfinished


def prepare(dataset: str, root: Path, out: Path | None = None, prefix: str | None = None) -> dict[Path, int]:
    """Check the download and write its info files, all of them or none.

    Args:
        dataset (str): One of ``LAYOUTS``.
        root (Path): Folder of the download.
        out (Path | None): Where the info files go; None for ``root``.
        prefix (str | None): Start of the files' names; None for ``dataset``.

    Returns:
        dict[Path, int]: The files written, each with its number of frames.

    Raises:
        InputError: If sequences, lists or files are missing or damaged, or ``out`` cannot be written.
    """
    layout = LAYOUTS[dataset]
    refuse_unfinished(root)
    simulated = is_simulated(root)
    splits = find_scans(layout, root, partial=simulated)
    if simulated:
        for split, scans in splits.items():
            sequences = sorted({PurePath(frame.scan).parts[-3] for frame in scans})
            print(f'simulated: {split} is of the sequences that are there, {", ".join(sequences)}')
    files = named_files(chain(*splits.values()))
    faults = find_faults(files, lambda name: file_fault(root, name, files[name], layout.columns), 'scans and labels')
    refuse_faults(root, faults, len(files))
    infos = {
        Path(out or root) / f'{prefix or dataset}_infos_{split}.pkl': build_infos(dataset, scans)
        for split, scans in splits.items()
    }
    write_infos(infos)
    return {path: len(content['data_list']) for path, content in infos.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dataset', choices=tuple(LAYOUTS))
    parser.add_argument('root', type=Path)
    parser.add_argument('--out', type=Path, help='folder of the info files; default: ROOT')
    parser.add_argument('--prefix', help="start of the files' names; default: the dataset's name")
    args = parser.parse_args()
    with clear_errors():
        written = prepare(args.dataset, args.root, args.out, args.prefix)
    for path, frames in written.items():
        print(f'{frames:6d} frames: {path}')


if __name__ == '__main__':
    main()
