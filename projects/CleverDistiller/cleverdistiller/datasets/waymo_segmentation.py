from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.label_set import WAYMO
from cleverdistiller.datasets.segmentation_dataset import SegmentationDataset


@DATASETS.register_module()
class WaymoSegmentation(SegmentationDataset):
    """Waymo Open Dataset, the labelled frames (two a second, in the middle of each segment): 22 classes.

    Index: ``tools/prepare_waymo_segmentation.py``. See :class:`SegmentationDataset` for the arguments.
    """

    METAINFO = WAYMO.metainfo()
    name = 'waymo'
    labels = WAYMO
    index_tool = 'tools/prepare_waymo_segmentation.py'
