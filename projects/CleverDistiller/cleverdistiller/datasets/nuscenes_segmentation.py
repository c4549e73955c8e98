from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.label_set import NUSCENES
from cleverdistiller.datasets.segmentation_dataset import SegmentationDataset


@DATASETS.register_module()
class NuScenesSegmentation(SegmentationDataset):
    """nuScenes-lidarseg: HDL-32E keyframes, the 16 classes of the challenge.

    Index: ``tools/prepare_nuscenes.py``; mmdet3d's own info files name no masks. See :class:`SegmentationDataset` for
    the arguments.
    """

    METAINFO = NUSCENES.metainfo()
    name = 'nuscenes'
    labels = NUSCENES
    index_tool = 'tools/prepare_nuscenes.py'

    @classmethod
    def frame_id(cls, record: dict) -> str:
        """The sample's token."""
        return record['token']

    @classmethod
    def scene_of(cls, record: dict) -> str:
        """The scene's name."""
        return record['scene_name']

    @classmethod
    def scene_order(cls, record: dict) -> tuple:
        """The row in the scene table."""
        return (record['scene_row'],)

    def parse_data_info(self, info: dict) -> dict:
        """Also put the sweep's token where ``Pack3DDetInputs`` finds it: submissions are named after it."""
        return dict(super().parse_data_info(info), sample_data_token=info['lidar_points'].get('sample_data_token'))
