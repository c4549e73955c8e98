from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.semantic_kitti_segmentation import SemanticKittiSegmentation


@DATASETS.register_module()
class ScribbleKittiSegmentation(SemanticKittiSegmentation):
    """ScribbleKITTI (arXiv 2203.08537): SemanticKITTI with line scribbles on about 8 % of the training points.

    Validation is SemanticKITTI's, with every point labelled. Index: ``tools/prepare_segmentation.py``. See
    :class:`SegmentationDataset` for the arguments.
    """

    name = 'scribblekitti'
