from cleverdistiller.datasets import transforms
from cleverdistiller.datasets.daps3d_segmentation import DAPS3DSegmentation
from cleverdistiller.datasets.distillation_dataset import DistillationDataset
from cleverdistiller.datasets.nuscenes_distillation import NuScenesDistillation
from cleverdistiller.datasets.nuscenes_segmentation import NuScenesSegmentation
from cleverdistiller.datasets.rellis3d_segmentation import Rellis3DSegmentation
from cleverdistiller.datasets.scribble_kitti_segmentation import ScribbleKittiSegmentation
from cleverdistiller.datasets.segmentation_dataset import SegmentationDataset
from cleverdistiller.datasets.semantic_kitti_segmentation import SemanticKittiSegmentation
from cleverdistiller.datasets.semantic_stf_segmentation import SemanticSTFSegmentation
from cleverdistiller.datasets.waymo_segmentation import WaymoSegmentation

__all__ = [
    'DAPS3DSegmentation',
    'DistillationDataset',
    'NuScenesDistillation',
    'NuScenesSegmentation',
    'Rellis3DSegmentation',
    'ScribbleKittiSegmentation',
    'SegmentationDataset',
    'SemanticKittiSegmentation',
    'SemanticSTFSegmentation',
    'WaymoSegmentation',
    'transforms',
]
