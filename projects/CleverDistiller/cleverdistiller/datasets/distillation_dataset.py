import os.path as osp

import numpy as np
from mmdet3d.registry import DATASETS
from mmengine.dataset import BaseDataset

from cleverdistiller.datasets.info_file import read_infos
from cleverdistiller.datasets.next_keyframes import link_next_keyframes
from cleverdistiller.datasets.seeded_samples import SeededSamples
from cleverdistiller.errors import InputError

INDEX_TOOL = 'tools/prepare_nuscenes.py'


@DATASETS.register_module()
class DistillationDataset(SeededSamples, BaseDataset):
    """Scans with their camera images, read from an mmdet3d v2 info file; no label is ever read.

    A new dataset subclasses this, names its cameras in ``METAINFO`` and, if its info file is laid out
    otherwise, overrides :meth:`parse_data_info`.

    Args:
        ann_file (str): Info file (``.pkl``), relative to ``data_root``.
        data_prefix (dict): Folder of the sweeps under ``pts`` and of each camera's images under its name.
        num_frames (int | None): Keep so many frames, evenly spaced; None keeps all.
        repeat (int): Go through the frames so often in one epoch (for very small sets).
        with_next_frame (bool): Tell each frame the keyframe that follows it in its scene, for :class:`LoadNextSweep`.
            The info file must know scenes, times and poses (:func:`link_next_keyframes`).
        **kwargs: For :class:`mmengine.dataset.BaseDataset` (``data_root``, ``pipeline``, ...).

    Raises:
        InputError: If the info file is missing, of another version, empty, or lacks a camera or, where asked for, a
            scene or pose.
    """

    METAINFO = dict(cameras=())

    def __init__(
        self, *args, num_frames: int | None = None, repeat: int = 1, with_next_frame: bool = False, **kwargs
    ) -> None:
        self.num_frames = num_frames
        self.repeat = repeat
        self.with_next_frame = with_next_frame
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        infos = read_infos(self.ann_file, INDEX_TOOL)
        self._metainfo.update({k: v for k, v in infos['metainfo'].items() if k not in self._metainfo})
        frames = infos['data_list']
        if self.with_next_frame:  # before any is left out: the next keyframe, not the next one kept
            frames = link_next_keyframes(frames, self.ann_file, INDEX_TOOL)
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
            dict: ``token``, ``lidar_points`` and ``images`` with full paths; ``next_frame`` where the record has it.
        """
        token = str(raw_data_info.get('token', raw_data_info.get('sample_idx')))
        try:
            images = raw_data_info.get('images', {})
            cameras = self.metainfo['cameras'] or tuple(images)
            record = dict(
                token=token,
                lidar_points=self._parse_sweep(raw_data_info['lidar_points']),
                images={camera: self._parse_camera(images, camera, token) for camera in cameras},
            )
            if 'next_frame' in raw_data_info:
                record['next_frame'] = self._parse_next_frame(raw_data_info['next_frame'])
            return record
        except (KeyError, TypeError) as error:
            raise InputError(
                f'{self.ann_file}, frame {token}, without {error}',
                'an mmdet3d v2 record',
                f'rebuild the index with {INDEX_TOOL}',
            ) from error

    def _folder(self, key: str) -> str:
        return self.data_prefix.get(key, self.data_root or '')

    def _parse_sweep(self, lidar_points: dict) -> dict:
        return {**lidar_points, 'lidar_path': osp.join(self._folder('pts'), lidar_points['lidar_path'])}

    def _parse_next_frame(self, next_frame: dict | None) -> dict | None:
        return next_frame and dict(next_frame, lidar_points=self._parse_sweep(next_frame['lidar_points']))

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
