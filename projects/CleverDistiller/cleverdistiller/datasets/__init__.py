from cleverdistiller.datasets import transforms
from cleverdistiller.datasets.daps3d_segmentation import DAPS3DSegmentation
from cleverdistiller.datasets.distillation_dataset import DistillationDataset
from cleverdistiller.datasets.kitti_detection_dataset import KittiDetectionDataset
from cleverdistiller.datasets.masked_images import MaskedImages
from cleverdistiller.datasets.nuscenes_distillation import NuScenesDistillation
from cleverdistiller.datasets.nuscenes_segmentation import NuScenesSegmentation
from cleverdistiller.datasets.rellis3d_segmentation import Rellis3DSegmentation
from cleverdistiller.datasets.scribble_kitti_segmentation import ScribbleKittiSegmentation
from cleverdistiller.datasets.segmentation_dataset import SegmentationDataset
from cleverdistiller.datasets.semantic_kitti_segmentation import SemanticKittiSegmentation
from cleverdistiller.datasets.semantic_stf_segmentation import SemanticSTFSegmentation
from cleverdistiller.datasets.split_data_base_sampler import SplitDataBaseSampler
from cleverdistiller.datasets.waymo_detection_dataset import WaymoDetectionDataset
from cleverdistiller.datasets.waymo_segmentation import WaymoSegmentation

__all__ = [
    'DAPS3DSegmentation',
    'DistillationDataset',
    'KittiDetectionDataset',
    'MaskedImages',
    'NuScenesDistillation',
    'NuScenesSegmentation',
    'Rellis3DSegmentation',
    'ScribbleKittiSegmentation',
    'SegmentationDataset',
    'SemanticKittiSegmentation',
    'SemanticSTFSegmentation',
    'SplitDataBaseSampler',
    'WaymoDetectionDataset',
    'WaymoSegmentation',
    'transforms',
]
