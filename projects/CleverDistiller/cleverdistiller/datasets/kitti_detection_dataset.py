from pathlib import PurePath

from mmdet3d.datasets import KittiDataset
from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.detection_dataset import DetectionDataset


@DATASETS.register_module()
class KittiDetectionDataset(DetectionDataset, KittiDataset):
    """KITTI's object detection benchmark on mmdet3d's ``KittiDataset``, in whole or in part.

    A sample keeps its frame's six digits as ``frame_id``; ``sample_idx`` is a place in the list, with which mmengine
    overwrites what the info file says. Index: ``tools/prepare_kitti.py``.

    Args:
        ann_file (str): Info file (``.pkl``), relative to ``data_root``.
        **kwargs: For :class:`DetectionDataset` (``metainfo``, ``frame_list``, ``pipeline``) and
            :class:`mmdet3d.datasets.KittiDataset` (``data_root``, ``data_prefix``, ``test_mode``,
            ``filter_empty_gt``, ...).

    Raises:
        InputError: As :class:`DetectionDataset`.
    """

    name = 'kitti'
    index_tool = 'tools/prepare_kitti.py'

    @classmethod
    def frame_id(cls, record: dict) -> str:
        """Name of a frame, the same on every machine: six digits."""
        return PurePath(record['lidar_points']['lidar_path']).stem

    @classmethod
    def scene_order(cls, record: dict) -> tuple:
        """The same for all: the benchmark does not say which frames are of one drive."""
        return ()

    def parse_data_info(self, info: dict) -> dict:
        """Keep the frame's id, and leave boxes in the image behind: mmengine copies what is here for every sample."""
        frame_id = self.frame_id(info)
        if self.load_type == 'frame_based':
            info.pop('cam_instances', None)
        return dict(super().parse_data_info(info), frame_id=frame_id)
