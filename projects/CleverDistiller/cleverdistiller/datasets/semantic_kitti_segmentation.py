from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.label_set import SEMANTIC_KITTI
from cleverdistiller.datasets.segmentation_dataset import SegmentationDataset


@DATASETS.register_module()
class SemanticKittiSegmentation(SegmentationDataset):
    """SemanticKITTI (arXiv 1904.01416): HDL-64E, 19 classes; train on 00-07, 09, 10, validate on 08.

    Index: ``tools/prepare_segmentation.py``. See :class:`SegmentationDataset` for the arguments.
    """

    METAINFO = SEMANTIC_KITTI.metainfo()
    name = 'semantickitti'
    labels = SEMANTIC_KITTI
    index_tool = 'tools/prepare_segmentation.py'
