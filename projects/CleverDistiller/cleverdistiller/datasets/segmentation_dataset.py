from pathlib import PurePath
from typing import ClassVar

import numpy as np
from mmdet3d.datasets import Seg3DDataset
from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.frame_list import FrameList
from cleverdistiller.datasets.info_file import read_infos
from cleverdistiller.datasets.label_set import LabelSet
from cleverdistiller.datasets.seeded_samples import SeededSamples
from cleverdistiller.errors import InputError


class SegmentationDataset(SeededSamples, Seg3DDataset):
    """Labelled LiDAR scans on mmdet3d's segmentation base, read from a v2 info file.

    A new dataset subclasses this and names its ``labels``; if a scan is not ``SEQUENCE/folder/FRAME.bin``, it also
    overrides :meth:`frame_id` and :meth:`scene_of`. Raw ids of no class become ``ignore_index``, never class 0.

    Args:
        ann_file (str): Info file (``.pkl``), relative to ``data_root``.
        frame_list (str | None): A file of ``tools/splits.py``: train on these frames only. None takes all.
        repeat (int): Go through the frames so often in one epoch (for very small sets).
        **kwargs: For :class:`mmdet3d.datasets.Seg3DDataset` (``data_root``, ``data_prefix``, ``pipeline``,
            ``test_mode``, ...).

    Raises:
        InputError: If the info file is missing, of another version or set, or empty, if a record lacks its scan, if the
            frame list is of other frames, or for other classes than the set's.
    """

    name: ClassVar[str]
    labels: ClassVar[LabelSet]
    index_tool: ClassVar[str]

    def __init__(
        self,
        data_root: str | None = None,
        ann_file: str = '',
        metainfo: dict | None = None,
        data_prefix: dict | None = None,
        frame_list: str | None = None,
        repeat: int = 1,
        **kwargs,
    ) -> None:
        self.frame_list = frame_list
        self.repeat = repeat
        classes = tuple((metainfo or {}).get('classes', self.labels.names))
        if (classes, kwargs.get('ignore_index') or self.labels.ignore_index) != (
            self.labels.names,
            self.labels.ignore_index,
        ):
            raise InputError(
                f'classes {classes} and ignore_index {kwargs.get("ignore_index")} for {self.name}',
                f'its own {self.labels.names} and {self.labels.ignore_index}',
                'leave them out; for other classes write a dataset with its own LabelSet (docs/extending.md)',
            )
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            metainfo={**self.METAINFO, **(metainfo or {})},  # the base dereferences it
            data_prefix={'pts': '', 'pts_semantic_mask': '', **(data_prefix or {})},
            **kwargs,
        )

    @classmethod
    def frame_id(cls, record: dict) -> str:
        """Name of a frame, the same on every machine: ``SEQUENCE/FRAME``."""
        return f'{cls.scene_of(record)}/{PurePath(record["lidar_points"]["lidar_path"]).stem}'

    @classmethod
    def scene_of(cls, record: dict) -> str:
        """Name of the sequence that a frame belongs to."""
        return PurePath(record['lidar_points']['lidar_path']).parts[-3]

    @classmethod
    def scene_order(cls, record: dict) -> tuple:
        """Sorting by this gives the dataset's own order of sequences."""
        return (cls.scene_of(record),)

    def get_seg_label_mapping(self, metainfo: dict | None = None) -> np.ndarray:
        """(65536,) int64: class of every raw id. The base's starts from zeros, which would make strangers class 0."""
        return self.labels.table

    def load_data_list(self) -> list[dict]:
        infos = read_infos(self.ann_file, self.index_tool)
        records, made_for = infos['data_list'], infos['metainfo'].get('dataset')
        # SemanticKITTI and ScribbleKITTI differ in nothing but the label files. Other tools give the set other names.
        if made_for != self.name and made_for in _names():
            raise InputError(
                f'{self.ann_file} of {made_for} for {self.name}',
                f'an info file of {self.name}',
                f'set ann_file, or make one with {self.index_tool}',
            )
        try:
            ids = [self.frame_id(record) for record in records]
            for record in records:
                _ = record['lidar_points']['lidar_path']  # the base needs it, whatever the frame is named after
        except (KeyError, TypeError, IndexError) as error:
            lacking = error if isinstance(error, KeyError) else f'a scan SEQUENCE/folder/FRAME.bin ({error})'
            raise InputError(
                f'{self.ann_file}, a frame of which lacks {lacking}',
                f'an mmdet3d v2 info file of {self.name}',
                f'rebuild it with {self.index_tool}',
            ) from error
        chosen = range(len(ids))
        if self.frame_list is not None:
            chosen = FrameList.read(self.frame_list).rows(self.name, ids, self.ann_file)
        return [
            dict(self.parse_data_info(_scan_alone(records[i])), frame_id=ids[i])
            for i in chosen
            for _ in range(self.repeat)
        ]

    def parse_data_info(self, info: dict) -> dict:
        """Join the paths with their folders, and bring the classes along for :class:`LoadPointLabels`."""
        return dict(super().parse_data_info(info), label_set=self.labels)


def _names() -> set[str]:
    classes = (cls for cls in DATASETS.module_dict.values() if isinstance(cls, type))
    return {cls.name for cls in classes if issubclass(cls, SegmentationDataset)}


def _scan_alone(record: dict) -> dict:
    """A copy without cameras, sweeps and boxes: mmengine copies the record of every sample that is drawn."""
    kept = {key: record[key] for key in record.keys() - {'images', 'lidar_sweeps', 'instances', 'cam_instances'}}
    return dict(kept, lidar_points=dict(record['lidar_points']))
