from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.label_set import RELLIS_3D
from cleverdistiller.datasets.segmentation_dataset import SegmentationDataset


@DATASETS.register_module()
class Rellis3DSegmentation(SegmentationDataset):
    """RELLIS-3D (arXiv 2011.12954): an off-road OS1-64, 14 classes.

    Index: ``tools/prepare_segmentation.py``. See :class:`SegmentationDataset` for the arguments.
    """

    METAINFO = RELLIS_3D.metainfo()
    name = 'rellis3d'
    labels = RELLIS_3D
    index_tool = 'tools/prepare_segmentation.py'
