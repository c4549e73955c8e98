from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.label_set import DAPS_3D
from cleverdistiller.datasets.segmentation_dataset import SegmentationDataset


@DATASETS.register_module()
class DAPS3DSegmentation(SegmentationDataset):
    """DAPS-1 of DAPS-3D: OS0-64, 4 groups of classes; sequence 08 validates, as its authors' config says.

    Index: ``tools/prepare_segmentation.py``. See :class:`SegmentationDataset` for the arguments.
    """

    METAINFO = DAPS_3D.metainfo()
    name = 'daps3d'
    labels = DAPS_3D
    index_tool = 'tools/prepare_segmentation.py'
