from collections.abc import Sequence

import numpy as np
from mmdet3d.datasets import Det3DDataset
from mmdet3d.registry import DATASETS
from mmdet3d.structures import LiDARInstance3DBoxes

from cleverdistiller.datasets.detection_dataset import DetectionDataset
from cleverdistiller.datasets.palette import colour_of
from cleverdistiller.datasets.waymo_detection_files import CLASSES
from cleverdistiller.errors import InputError


@DATASETS.register_module()
class WaymoDetectionDataset(DetectionDataset, Det3DDataset):
    """Waymo Open Dataset for LiDAR detection, in whole or in part.

    mmdet3d's ``WaymoDataset`` is built on KITTI's and on camera images; this one has points and boxes alone, in the
    car's frame, and names frames as Waymo does. Index: ``tools/prepare_waymo.py``.

    A sample has ``frame_id`` (``CONTEXT/MICROSECONDS``), ``context_name`` and ``timestamp`` (microseconds).

    Args:
        ann_file (str): Info file (``.pkl``), relative to ``data_root``.
        data_prefix (dict | None): Folder of the point files, relative to ``data_root``, as ``pts``.
        frame_list (str | None): See :class:`DetectionDataset`.
        load_interval (int): Take each so many-th frame: for quick validation. ``frame_list`` with a list of the mode
            ``stride`` takes the same frames, and tells them to the ground-truth sampler.
        pipeline (Sequence): Configs of transforms.
        **kwargs: For :class:`DetectionDataset` (``metainfo``) and :class:`mmdet3d.datasets.Det3DDataset`
            (``data_root``, ``test_mode``, ``filter_empty_gt``, ...).

    Raises:
        InputError: As :class:`DetectionDataset`, and for ``load_interval`` with a frame list or a ground-truth sampler.
    """

    METAINFO = dict(classes=CLASSES, palette=[colour_of(name) for name in CLASSES])
    name = 'waymo_detection'
    index_tool = 'tools/prepare_waymo.py'

    def __init__(
        self,
        data_prefix: dict | None = None,
        frame_list: str | None = None,
        load_interval: int = 1,
        pipeline: Sequence = (),
        **kwargs,
    ) -> None:
        if load_interval < 1 or (load_interval > 1 and frame_list is not None):
            raise InputError(
                f'load_interval={load_interval} and frame_list={frame_list}',
                'an interval of 1 or more, or a frame list',
                'leave one of them out',
            )
        if load_interval > 1 and any(isinstance(step, dict) and 'db_sampler' in step for step in pipeline):
            raise InputError(
                f'load_interval={load_interval} with a ground-truth sampler, which would paste objects of other frames',
                'a frame list, which both follow',
                f'make one with tools/splits.py INFO.pkl --mode stride --percent {100 / load_interval:g}, and set '
                'frame_list',
            )
        self.load_interval = load_interval
        super().__init__(data_prefix=data_prefix or dict(pts=''), frame_list=frame_list, pipeline=pipeline, **kwargs)

    @classmethod
    def frame_id(cls, record: dict) -> str:
        """Name of a frame, the same on every machine: ``CONTEXT/MICROSECONDS``."""
        return record['frame_id']

    @classmethod
    def scene_order(cls, record: dict) -> tuple:
        """Waymo's segments, by name."""
        return (record['context_name'],)

    def parse_data_info(self, info: dict) -> dict:
        """Leave the list of boxes behind once it is an array: mmengine copies what is here for every sample."""
        sample = super().parse_data_info(info)
        sample.pop('instances')
        return sample

    def parse_ann_info(self, info: dict) -> dict:
        """Boxes, labels and what Waymo's metric needs, of the classes that are asked for.

        Returns:
            dict: ``gt_bboxes_3d`` (M boxes), ``gt_labels_3d`` (M,) int64, ``difficulty`` (M,) int64, Waymo's level 1
            or 2.
        """
        instances = [each for each in info['instances'] if self.label_mapping[each['bbox_label_3d']] >= 0]
        labels = np.array([self.label_mapping[each['bbox_label_3d']] for each in instances], np.int64)
        for label in labels:
            self.num_ins_per_cat[label] += 1
        boxes = np.array([each['bbox_3d'] for each in instances], np.float32).reshape(-1, 7)
        return dict(
            gt_bboxes_3d=LiDARInstance3DBoxes(boxes),
            gt_labels_3d=labels,
            difficulty=np.array([each['difficulty'] for each in instances], np.int64),
        )
