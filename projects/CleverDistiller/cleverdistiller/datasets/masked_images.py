from __future__ import annotations

import json
from pathlib import Path

from mmdet3d.registry import DATASETS
from mmengine.dataset import BaseDataset

from cleverdistiller.datasets.seeded_samples import SeededSamples
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import visible_paths
from cleverdistiller.provenance import refuse_unfinished

PARTS = ('train', 'val')


@DATASETS.register_module()
class MaskedImages(SeededSamples, BaseDataset):
    """Camera images with a class for each pixel, as ``tools/simulate.py --format images`` writes them.

    ``images/SCENE_FRAME_CAMERA.jpg``, ``masks/`` with a PNG of ids for each, ``classes.json`` from id to name. Whole
    scenes are for training or for validation, the last ones for validation.

    Args:
        data_root (str): The folder.
        part (str): ``train`` or ``val``.
        val_scenes (int): How many scenes are for validation.
        pipeline (list[dict]): Begins with :class:`LoadMaskedImage`.
        test_mode (bool): See :class:`mmengine.dataset.BaseDataset`.

    Raises:
        InputError: If the folder is a simulated set that is not complete, lacks its classes or its images, a mask is
            missing, or no scene is left for training.
    """

    def __init__(
        self, data_root: str, part: str = 'train', val_scenes: int = 1, pipeline: list = (), test_mode: bool = False
    ) -> None:
        if part not in PARTS:
            raise InputError(f'part={part!r}', f'one of {PARTS}', 'correct the config')
        self.part, self.val_scenes = part, val_scenes
        refuse_unfinished(data_root)
        super().__init__(
            data_root=data_root,
            metainfo=dict(classes=_read_classes(Path(data_root) / 'classes.json')),
            pipeline=pipeline,
            test_mode=test_mode,
        )

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        images = visible_paths(root / 'images', '*.jpg')
        scenes = sorted({_scene(path) for path in images})
        if not 0 < self.val_scenes < len(scenes):
            raise InputError(
                f'{len(scenes)} scenes in {root / "images"} with val_scenes={self.val_scenes}',
                'at least one scene for training and one for validation',
                'simulate more scenes (tools/simulate.py --format images), or set val_scenes',
            )
        held_out = set(scenes[-self.val_scenes :])
        chosen = [path for path in images if (_scene(path) in held_out) == (self.part == 'val')]
        missing = [path.stem for path in chosen if not (root / 'masks' / f'{path.stem}.png').is_file()]
        if missing:
            raise InputError(
                f'{len(missing)} images of {root} without mask, such as {missing[0]}',
                'masks/NAME.png for each images/NAME.jpg',
                'make the set again',
            )
        return [
            dict(
                img_path=str(path),
                mask_path=str(root / 'masks' / f'{path.stem}.png'),
                frame_id=path.stem,
                num_classes=len(self.metainfo['classes']),
            )
            for path in chosen
        ]


def _scene(path: Path) -> str:
    return path.name.split('_')[0]


def _read_classes(path: Path) -> tuple[str, ...]:
    remedy = 'make the set with tools/simulate.py --format images, or set data_root'
    if not path.is_file():
        raise InputError(f'no {path}', 'a set of images with masks', remedy)
    try:
        found = {int(number): name for number, name in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError) as error:
        raise InputError(f'{path}, which cannot be read ({error})', 'id to name', remedy) from error
    if sorted(found) != list(range(len(found))):
        raise InputError(f'{path} with the ids {sorted(found)}', 'ids from 0 on without a gap', remedy)
    return tuple(found[number] for number in range(len(found)))
