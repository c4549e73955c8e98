from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.label_set import SEMANTIC_STF
from cleverdistiller.datasets.segmentation_dataset import SegmentationDataset


@DATASETS.register_module()
class SemanticSTFSegmentation(SegmentationDataset):
    """SemanticSTF (arXiv 2304.00690): HDL-64 S3D in snow, fog and rain, SemanticKITTI's 19 classes.

    Index: ``tools/prepare_segmentation.py``. See :class:`SegmentationDataset` for the arguments.
    """

    METAINFO = SEMANTIC_STF.metainfo()
    name = 'semanticstf'
    labels = SEMANTIC_STF
    index_tool = 'tools/prepare_segmentation.py'
