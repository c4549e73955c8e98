"""Publish few-label splits: small JSON files that say which frames of a training set a run may see.

python tools/splits.py INFO.pkl [--dataset NAME] [--mode uniform|stride|scene] [--seed 0] [--percent 1 5 10 25]
                                [--out DIR] [--overwrite]

INFO.pkl is the info file of the whole training set; no scan is opened. A config takes a list with
train_dataloader.dataset.frame_list, and the dataset refuses it if the training set has other frames.

uniform  round(N * percent / 100) frames, spread over the set; smaller lists are in the larger ones of the same seed,
         and few seeds share no frame. The protocol of the paper.
stride   each (100 / percent)th frame by name: SLidR and ScaLR on SemanticKITTI.
scene    all frames of each (100 / percent)th scene: SLidR on nuScenes. Not for KITTI, which names no scenes.

Writes DIR/uniform{seed}_{percent}.json, DIR/stride_{percent}.json or DIR/scene_{percent}.json. The same command gives
the same bytes on every machine. If one of the files is there and differs, nothing is written without --overwrite: a
published list must not change silently, and running the command again checks it.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from mmdet3d.registry import DATASETS

import cleverdistiller  # noqa: F401  (fills the registries)
from _packaged import clear_errors
from cleverdistiller.datasets.frame_list import FrameList, fingerprint
from cleverdistiller.datasets.frame_splits import MODES, choose_frames, exact_percent
from cleverdistiller.datasets.info_file import read_infos
from cleverdistiller.errors import InputError

LISTS = Path('configs/splits')


def dataset_class(name: str | None, info_file: Path) -> type:
    """Find a registered dataset that names its frames (``frame_id``) and orders its scenes, by its ``name``.

    Args:
        name (str | None): Such as ``'nuscenes'``.
        info_file (Path): For the message.

    Returns:
        type: The class.

    Raises:
        InputError: If there is none of that name.
    """
    classes = {cls.name: cls for cls in DATASETS.module_dict.values() if hasattr(cls, 'scene_order')}
    if name not in classes:
        raise InputError(
            f'the dataset {name} for {info_file}', f'one of {", ".join(sorted(classes))}', 'name it with --dataset'
        )
    return classes[name]


def read_frames(info_file: Path, dataset: str | None) -> tuple[str, list[str], list[tuple]]:
    """List a training set's frames with their scenes.

    Args:
        info_file (Path): mmdet3d v2 info file.
        dataset (str | None): ``name`` of the dataset's class; None for the one that the info file names.

    Returns:
        tuple[str, list[str], list[tuple]]: Name of the dataset, N frames' ids, and N scenes that sort in the dataset's
        own order.

    Raises:
        InputError: If the info file cannot be read, is of no known dataset, or lacks what names its frames.
    """
    infos = read_infos(str(info_file), 'the tools/prepare_*.py of the dataset')
    cls = dataset_class(dataset or infos['metainfo'].get('dataset'), info_file)
    try:
        ids = [cls.frame_id(record) for record in infos['data_list']]
        scenes = [cls.scene_order(record) for record in infos['data_list']]
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(
            f'{info_file}, a frame of which lacks {error}',
            f'an info file of {cls.name}',
            f'name another dataset with --dataset, or rebuild it with {cls.index_tool}',
        ) from error
    return cls.name, ids, scenes


def publish(lists: Iterable[FrameList], folder: Path, overwrite: bool) -> dict[Path, str]:
    """Write lists, or none if one of them would change what is published.

    Args:
        lists (Iterable[FrameList]): What to write.
        folder (Path): Where.
        overwrite (bool): Replace lists that differ.

    Returns:
        dict[Path, str]: File to ``'written'`` or ``'unchanged'``.

    Raises:
        InputError: If a file is there and differs, or the folder cannot be written.
    """
    files = {folder / f'{each.name}.json': each for each in lists}
    there = {path: path.read_bytes() for path in files if path.is_file()}
    equal = {path for path, content in there.items() if content == files[path].to_json().encode()}
    changed = sorted(there.keys() - equal)
    if changed and not overwrite:
        raise InputError(
            f'{changed[0]}, which holds another list',
            'the list that this command makes',
            'nothing was written: choose another --out, or replace the published list with --overwrite',
        )
    for path in sorted(files.keys() - equal):
        try:
            files[path].write(path)
        except OSError as error:
            raise InputError(
                f'{path}, which cannot be written ({error.strerror})', 'a writable folder', 'choose another --out'
            ) from error
    return {path: 'unchanged' if path in equal else 'written' for path in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('info_file', type=Path, metavar='INFO.pkl')
    parser.add_argument('--dataset', metavar='NAME', help='default: the one that the info file names')
    parser.add_argument('--mode', choices=MODES, default='uniform')
    parser.add_argument('--seed', type=int, default=0, help='of uniform: another seed, other frames')
    parser.add_argument('--percent', nargs='+', default=['1', '5', '10', '25'])
    parser.add_argument('--out', type=Path, metavar='DIR', help=f'default: {LISTS}/NAME')
    parser.add_argument('--overwrite', action='store_true', help='replace published lists that differ')
    args = parser.parse_args()
    with clear_errors():
        dataset, ids, scenes = read_frames(args.info_file, args.dataset)
        whole = dict(dataset=dataset, of=len(ids), fingerprint=fingerprint(ids))
        lists = []
        for percent in dict.fromkeys(f'{exact_percent(each):f}' for each in args.percent):
            frames = choose_frames(ids, scenes, args.mode, percent, args.seed, source=str(args.info_file))
            lists.append(FrameList(mode=args.mode, seed=args.seed, percent=percent, frames=tuple(frames), **whole))
        states = publish(lists, args.out or LISTS / dataset, args.overwrite)
    scene_of = dict(zip(ids, scenes))
    print(f'{"percent":>7} {"frames":>7} {"scenes":>7}   of {len(ids)} frames in {len(set(scenes))} scenes')
    for each, (path, state) in zip(lists, states.items()):
        touched = {scene_of[frame] for frame in each.frames}
        print(f'{each.percent:>7} {len(each.frames):7d} {len(touched):7d}   {path} ({state})')


if __name__ == '__main__':
    main()
