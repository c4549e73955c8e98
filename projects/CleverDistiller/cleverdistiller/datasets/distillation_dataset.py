import os.path as osp
from collections.abc import Mapping

import mmengine
import numpy as np
import torch
from mmdet3d.registry import DATASETS
from mmengine.dataset import BaseDataset

from cleverdistiller.errors import InputError
from cleverdistiller.seeding import isolated_seed


@DATASETS.register_module()
class DistillationDataset(BaseDataset):
    """Scans with their camera images, read from an mmdet3d v2 info file; no label is ever read.

    A new dataset subclasses this, names its cameras in ``METAINFO`` and, if its info file is laid out
    otherwise, overrides :meth:`parse_data_info`.

    Each sample's randomness depends on (seed, epoch, index) alone: another number of workers, or a resumed
    run, sees the same augmentations. :class:`SeedHook` tells the epoch.

    Args:
        ann_file (str): Info file (``.pkl``), relative to ``data_root``.
        data_prefix (dict): Folder of the sweeps under ``pts`` and of each camera's images under its name.
        num_frames (int | None): Keep so many frames, evenly spaced; None keeps all.
        repeat (int): Go through the frames so often in one epoch (for very small sets).
        **kwargs: For :class:`mmengine.dataset.BaseDataset` (``data_root``, ``pipeline``, ...).

    Raises:
        InputError: If the info file is missing, of another version, empty, or lacks a camera.
    """

    METAINFO = dict(cameras=())

    def __init__(self, *args, num_frames: int | None = None, repeat: int = 1, **kwargs) -> None:
        self.num_frames = num_frames
        self.repeat = repeat
        # Shared memory, so that persistent workers see the epoch change.
        self._seed_and_epoch = torch.zeros(2, dtype=torch.int64).share_memory_()
        super().__init__(*args, **kwargs)

    def set_epoch(self, seed: int, epoch: int) -> None:
        """Tell every worker which epoch the next samples belong to."""
        self._seed_and_epoch.copy_(torch.tensor([seed, epoch]))

    def prepare_data(self, idx: int) -> dict:
        seed, epoch = self._seed_and_epoch.tolist()
        with isolated_seed(seed, epoch, idx):
            return super().prepare_data(idx)

    def load_data_list(self) -> list[dict]:
        infos = _read_infos(self.ann_file)
        self._metainfo.update({k: v for k, v in infos['metainfo'].items() if k not in self._metainfo})
        frames = infos['data_list']
        if self.num_frames is not None and self.num_frames < len(frames):
            kept = np.linspace(0, len(frames) - 1, self.num_frames).round().astype(int)
            frames = [frames[i] for i in kept]
        return [self.parse_data_info(frame) for frame in frames] * self.repeat

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Turn one record of the info file into what the pipeline starts from.

        Args:
            raw_data_info (dict): mmdet3d v2 record: ``token``, ``lidar_points.lidar_path`` and, for each
                camera, ``images[camera]`` with ``img_path``, ``cam2img`` (3x3) and ``lidar2cam`` (4x4).

        Returns:
            dict: ``token``, ``lidar_points`` and ``images`` with full paths.
        """
        token = str(raw_data_info.get('token', raw_data_info.get('sample_idx')))
        try:
            sweep = raw_data_info['lidar_points']['lidar_path']
            images = raw_data_info.get('images', {})
            cameras = self.metainfo['cameras'] or tuple(images)
            return dict(
                token=token,
                lidar_points=dict(lidar_path=osp.join(self._folder('pts'), sweep)),
                images={camera: self._parse_camera(images, camera, token) for camera in cameras},
            )
        except (KeyError, TypeError) as error:
            raise InputError(
                f'{self.ann_file}, frame {token}, without {error}',
                'an mmdet3d v2 record',
                'rebuild the index with tools/prepare_nuscenes.py',
            ) from error

    def _folder(self, key: str) -> str:
        return self.data_prefix.get(key, self.data_root or '')

    def _parse_camera(self, images: dict, camera: str, token: str) -> dict:
        record = images.get(camera, {})
        matrices = {}
        for name, size in (('cam2img', 3), ('lidar2cam', 4)):
            matrix = np.array(record.get(name, []), dtype=np.float64)
            if matrix.ndim != 2 or min(matrix.shape) < size or not np.isfinite(matrix).all():
                raise InputError(
                    f'{self.ann_file}, frame {token}: {camera} with {name} of shape {matrix.shape}',
                    f'a finite {size}x{size} matrix for each of the cameras',
                    'rebuild the index, or leave the camera out with dataset.metainfo.cameras',
                )
            matrices[name] = matrix[:size, :size]
        return dict(img_path=osp.join(self._folder(camera), record['img_path']), **matrices)


def _read_infos(path: str) -> Mapping:
    """Read an info file or say what is wrong with it."""
    if not osp.isfile(path):
        raise InputError(
            f'{path}, which is not a file',
            'an mmdet3d v2 info file',
            'make it with tools/prepare_nuscenes.py, or set data_root and ann_file',
        )
    try:
        infos = mmengine.load(path)
    except Exception as error:  # any damaged pickle: EOFError, UnpicklingError, AttributeError, ...
        raise InputError(
            f'{path}, which cannot be read ({error})',
            'an mmdet3d v2 info file',
            'rebuild it with tools/prepare_nuscenes.py',
        ) from error
    if not isinstance(infos, Mapping) or not {'metainfo', 'data_list'} <= infos.keys():
        found = sorted(map(str, infos)) if isinstance(infos, Mapping) else type(infos).__name__
        raise InputError(
            f'{path} of another version, with {found}',
            'metainfo and data_list (mmdet3d >= 1.1, info version 1.x)',
            "rebuild it with tools/prepare_nuscenes.py, or convert it with mmdet3d's "
            'tools/dataset_converters/update_infos_to_v2.py',
        )
    if not infos['data_list']:
        raise InputError(f'{path} without frames', 'at least one frame', 'rebuild the index')
    return infos
