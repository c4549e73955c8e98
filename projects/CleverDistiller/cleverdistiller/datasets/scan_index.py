"""Where the scans and labels of five datasets lie, and mmdet3d v2 info records of them. No scan or label is opened."""

import os.path as osp
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePath
from typing import ClassVar

from cleverdistiller.datasets.file_checks import size_fault
from cleverdistiller.errors import InputError, listed
from cleverdistiller.fileio import visible_paths

BYTES_PER_LABEL = 4  # uint32 or int32
_TRAIN = ('00', '01', '02', '03', '04', '05', '06', '07', '09', '10')
_VAL = ('08',)
_TEST = tuple(str(number) for number in range(11, 22))
_UNPACK = 'unpack all archives of the set into {root}, or check ROOT; nothing was written'


@dataclass(frozen=True)
class LabelledScan:
    """One frame, by its files' names below the root; ``label`` is None where the benchmark publishes none."""

    scan: str
    label: str | None


@dataclass(frozen=True)
class SequenceFolders:
    """Scans in ``SEQUENCE/{scans}/FRAME.bin``, labels in ``SEQUENCE/{labels}/FRAME.label``.

    Args:
        splits (Mapping[str, tuple[str, ...]]): ``train``, ``val``, ``test`` to its sequences' folders below the root.
        scans (str): Name of the folder of scans.
        labels (Mapping[str, str]): Split to the name of its folder of labels, if it has labels.
        columns (int): float32 per point in a scan's file.
        optional (tuple[str, ...]): Splits that a root may lack as a whole.
    """

    splits: Mapping[str, tuple[str, ...]]
    scans: str
    labels: Mapping[str, str]
    columns: int = 4
    optional: tuple[str, ...] = ()

    def sources(self, split: str) -> list[str]:
        """Folders below the root that a split is read from."""
        return [f'{sequence}/{self.scans}' for sequence in self.splits[split]]

    def read(self, root: Path, split: str, source: str) -> list[LabelledScan]:
        """Frames of one folder. One that has a label only is listed, too: the check of its files tells."""
        labels = osp.join(osp.dirname(source), self.labels[split]) if split in self.labels else None
        frames = {path.stem for path in visible_paths(root / source, '*.bin')}
        if labels:
            frames |= {path.stem for path in visible_paths(root / labels, '*.label')}
        return [
            LabelledScan(f'{source}/{frame}.bin', f'{labels}/{frame}.label' if labels else None) for frame in frames
        ]


@dataclass(frozen=True)
class SplitLists:
    """A text file for each split, whose rows name a scan and its label.

    Args:
        splits (Mapping[str, str]): ``train``, ``val``, ``test`` to its list below the root.
        columns (int): float32 per point in a scan's file.
    """

    splits: Mapping[str, str]
    columns: int = 4
    optional: ClassVar[tuple[str, ...]] = ()

    def sources(self, split: str) -> list[str]:
        """Files below the root that a split is read from."""
        return [self.splits[split]]

    def read(self, root: Path, split: str, source: str) -> list[LabelledScan]:
        """Frames of one list."""
        # What is not text names no files, which the check of the files tells.
        rows = [row.split() for row in (root / source).read_text(errors='replace').splitlines() if row.strip()]
        for row in rows:
            if len(row) != 2:
                raise InputError(
                    f'{root / source} with the row {" ".join(row)[:80]!r}',
                    'a scan and its label in each row',
                    'download or copy the list again; nothing was written',
                )
        return [LabelledScan(*row) for row in rows]


Layout = SequenceFolders | SplitLists


def _under(parent: str, *sequences: str) -> tuple[str, ...]:
    return tuple(f'{parent}/{sequence}' for sequence in sequences)


LAYOUTS = dict(
    semantickitti=SequenceFolders(
        dict(train=_under('sequences', *_TRAIN), val=_under('sequences', *_VAL), test=_under('sequences', *_TEST)),
        scans='velodyne',
        labels=dict(train='labels', val='labels'),
        optional=('test',),
    ),
    scribblekitti=SequenceFolders(
        dict(train=_under('sequences', *_TRAIN), val=_under('sequences', *_VAL)),
        scans='velodyne',
        labels=dict(train='scribbles', val='labels'),
    ),
    rellis3d=SplitLists(dict(train='pt_train.lst', val='pt_val.lst', test='pt_test.lst')),
    semanticstf=SequenceFolders(
        dict(train=('train',), val=('val',), test=('test',)),
        scans='velodyne',
        labels=dict(train='labels', val='labels', test='labels'),
        columns=5,
    ),
    daps3d=SequenceFolders(
        dict(train=_under('data', *_TRAIN), val=_under('data', *_VAL)),
        scans='clouds',
        labels=dict(train='labels', val='labels'),
    ),
)


def find_scans(layout: Layout, root: Path, partial: bool = False) -> dict[str, list[LabelledScan]]:
    """List the frames of every split.

    Args:
        layout (Layout): One of ``LAYOUTS``.
        root (Path): Folder of the download.
        partial (bool): Take the sequences that are there, if any are of ``train``: simulated sets are small.

    Returns:
        dict[str, list[LabelledScan]]: Split to its frames, sorted by sequence, then by frame; without splits that the
        root may lack and does.

    Raises:
        InputError: If a sequence or a list is missing or empty, if a list cannot be read, or names a scan twice.
    """
    wanted = {split: layout.sources(split) for split in layout.splits}
    there = {split: [source for source in sources if (root / source).exists()] for split, sources in wanted.items()}
    if not (partial and there['train']):
        needed = [split for split in wanted if there[split] or split not in layout.optional]
        _refuse_missing(root, [source for split in needed for source in wanted[split] if source not in there[split]])
    found = {
        split: sorted(chain.from_iterable(_read(layout, root, split, source) for source in sources), key=_order)
        for split, sources in there.items()
        if sources
    }
    _refuse_repeated(root, found)
    return found


def _refuse_repeated(root: Path, found: Mapping[str, list[LabelledScan]]) -> None:
    """A scan in two splits would be scored on what was trained."""
    seen: dict[str, str] = {}
    for split, scans in found.items():
        for frame in scans:
            if frame.scan in seen:
                raise InputError(
                    f'{root / frame.scan}, listed in {seen[frame.scan]} and in {split}',
                    'each scan once, in one split',
                    "download the set's lists again; nothing was written",
                )
            seen[frame.scan] = split


def _refuse_missing(root: Path, missing: list[str]) -> None:
    if missing:
        raise InputError(
            f'{root}, without {listed(missing)}',
            "every sequence or list of the dataset's splits",
            _UNPACK.format(root=root),
        )


def _read(layout: Layout, root: Path, split: str, source: str) -> list[LabelledScan]:
    scans = layout.read(root, split, source)
    if not scans:
        raise InputError(f'{root / source} without scans', 'at least one', _UNPACK.format(root=root))
    return scans


def _order(scan: LabelledScan) -> tuple:
    """By sequence, then by frame, whose number may lack leading zeros."""
    path = PurePath(scan.scan)
    return path.parent, len(path.name), path.name


def named_files(scans: Iterable[LabelledScan]) -> dict[str, str | None]:
    """List the files of some frames.

    Args:
        scans (Iterable[LabelledScan]): The frames.

    Returns:
        dict[str, str | None]: A scan to None, a label to its scan.
    """
    files = {}
    for frame in scans:
        files[frame.scan] = None
        if frame.label:
            files[frame.label] = frame.scan
    return files


def file_fault(root: Path, name: str, scan: str | None, columns: int) -> str | None:
    """Say what is wrong with a scan or a label, as far as its size tells.

    Args:
        root (Path): Folder of the download.
        name (str): The file, below ``root``.
        scan (str | None): If the file is a label, its scan.
        columns (int): float32 per point in a scan.

    Returns:
        str | None: ``'missing'``, ``'empty'``, ... or None if nothing is wrong.
    """
    row_bytes = 4 * columns
    if scan is None:
        return size_fault(root / name, row_bytes)
    fault = size_fault(root / name, BYTES_PER_LABEL)
    if fault or size_fault(root / scan, row_bytes):  # a bad scan is told by itself
        return fault
    labels, points = osp.getsize(root / name) // BYTES_PER_LABEL, osp.getsize(root / scan) // row_bytes
    return None if labels == points else f'{labels} labels for {points} points'


def build_infos(dataset: str, scans: Iterable[LabelledScan]) -> dict:
    """Make the content of one info file.

    Args:
        dataset (str): One of ``LAYOUTS``.
        scans (Iterable[LabelledScan]): Its frames.

    Returns:
        dict: ``metainfo`` and ``data_list``, as mmdet3d 1.4 reads them (info version 1.1); files below the root.
    """
    columns = LAYOUTS[dataset].columns
    records = []
    for index, frame in enumerate(scans):
        record = dict(sample_idx=index, lidar_points=dict(lidar_path=frame.scan, num_pts_feats=columns))
        if frame.label:
            record['pts_semantic_mask_path'] = frame.label
        records.append(record)
    return dict(metainfo=dict(dataset=dataset, info_version='1.1'), data_list=records)
