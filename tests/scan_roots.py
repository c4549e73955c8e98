"""Tiny made-up roots of the five datasets that tools/prepare_segmentation.py indexes, laid out as their authors do."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

_TRAIN, _VAL = ['00', '01', '02', '03', '04', '05', '06', '07', '09', '10'], ['08']
_KITTI_IDS = {10: 0, 252: 0, 11: 1, 20: 4, 16: 4, 254: 5, 40: 8, 60: 8, 81: 18, 0: 19, 52: 19, 99: 19, 200: 19}


@dataclass(frozen=True)
class MadeUpSet:
    """How one dataset looks: what the files are called and what some of its raw ids mean.

    ``frame`` and ``label`` name a frame's files from its sequence, its number and its split.
    """

    type: str
    sequences: dict[str, list[str]]
    frame: str
    label: str
    classes: dict[int, int]
    dtype: str
    columns: int = 4
    intensity_scale: float = 1.0


_KITTI = dict(
    sequences=dict(train=_TRAIN, val=_VAL),
    frame='sequences/{sequence}/velodyne/{number:06}.bin',
    label='sequences/{sequence}/labels/{number:06}.label',
    classes=_KITTI_IDS,
    dtype='uint32',
)
SETS = dict(
    semantickitti=MadeUpSet('SemanticKittiSegmentation', **_KITTI),
    scribblekitti=MadeUpSet(
        'ScribbleKittiSegmentation',
        **dict(_KITTI, label='sequences/{sequence}/{scribbles_or_labels}/{number:06}.label'),
    ),
    rellis3d=MadeUpSet(
        'Rellis3DSegmentation',
        dict(train=['00000', '00004'], val=['00001'], test=['00003']),
        '{sequence}/os1_cloud_node_kitti_bin/{number:06}.bin',
        '{sequence}/os1_cloud_node_semantickitti_label_id/{number:06}.label',
        {3: 0, 4: 1, 15: 5, 34: 13, 0: 14, 7: 14, 12: 14, 2: 14},
        'uint32',
        intensity_scale=64.0,
    ),
    semanticstf=MadeUpSet(
        'SemanticSTFSegmentation',
        dict(train=['train'], val=['val'], test=['test']),
        '{sequence}/velodyne/2018-02-03_{number:05}.bin',
        '{sequence}/labels/2018-02-03_{number:05}.label',
        {1: 0, 2: 1, 9: 8, 19: 18, 0: 19, 20: 19},
        'int32',
        columns=5,
        intensity_scale=1 / 255,
    ),
    daps3d=MadeUpSet(
        'DAPS3DSegmentation',
        dict(train=_TRAIN, val=_VAL),
        'data/{sequence}/clouds/{number}.bin',  # without leading zeros
        'data/{sequence}/labels/{number}.label',
        {10: 0, 30: 1, 40: 2, 50: 3, 259: 0, 0: 4, 99: 4, 17: 4},
        'int32',
    ),
)
NUMBERS = (2, 10)  # of the frames in each sequence


@dataclass(frozen=True)
class Frame:
    """What was written for one frame; ``mask_name`` is None where there is no label."""

    scan_name: str
    mask_name: str | None
    points: np.ndarray  # (N, columns)
    raw: np.ndarray  # (N,) raw ids, without instances


def write_scan_root(dataset: str, root: Path) -> dict[str, list[Frame]]:
    """Write a root with two frames in each sequence; returns each split's frames in order."""
    made = SETS[dataset]
    frames = {
        split: [_write_frame(made, root, split, sequence, number) for sequence in sequences for number in NUMBERS]
        for split, sequences in made.sequences.items()
    }
    if dataset == 'rellis3d':
        for split, rows in frames.items():  # the lists of the authors are shuffled
            text = '\n'.join(f'{frame.scan_name} {frame.mask_name}' for frame in reversed(rows))
            (root / f'pt_{split}.lst').write_text(text + '\n')
    return frames


def _write_frame(made: MadeUpSet, root: Path, split: str, sequence: str, number: int) -> Frame:
    rng = np.random.default_rng([*sequence.encode(), number])
    raw = rng.permutation([*made.classes, *rng.choice([*made.classes], rng.integers(5))])
    points = rng.uniform(1, 30, (len(raw), made.columns)).astype(np.float32)
    if made.type == 'Rellis3DSegmentation':
        points[raw == 0, :3] = 0  # what did not come back is void
    names = dict(sequence=sequence, number=number, scribbles_or_labels='scribbles' if split == 'train' else 'labels')
    scan, label = made.frame.format(**names), made.label.format(**names)
    instances = rng.integers(1, 9, len(raw)) << 16 if made.dtype == 'uint32' else 0
    for name, content in ((scan, points), (label, (raw + instances).astype(made.dtype))):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        content.tofile(root / name)
    return Frame(scan, label, points, raw)
