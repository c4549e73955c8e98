from cleverdistiller.datasets.transforms.augment_scan import AugmentScan
from cleverdistiller.datasets.transforms.detection_point_sample import DetectionPointSample
from cleverdistiller.datasets.transforms.drop_no_returns import DropNoReturns
from cleverdistiller.datasets.transforms.load_camera_images import LoadCameraImages
from cleverdistiller.datasets.transforms.load_lidar_sweep import LoadLiDARSweep
from cleverdistiller.datasets.transforms.load_masked_image import LoadMaskedImage
from cleverdistiller.datasets.transforms.load_next_sweep import LoadNextSweep
from cleverdistiller.datasets.transforms.load_point_labels import LoadPointLabels
from cleverdistiller.datasets.transforms.load_superpixels import LoadSuperpixels
from cleverdistiller.datasets.transforms.load_teacher_features import LoadTeacherFeatures
from cleverdistiller.datasets.transforms.pack_distillation_inputs import PackDistillationInputs
from cleverdistiller.datasets.transforms.pair_points_with_pixels import PairPointsWithPixels
from cleverdistiller.datasets.transforms.sample_occupancy_queries import SampleOccupancyQueries
from cleverdistiller.datasets.transforms.sampled_points_first import SampledPointsFirst

__all__ = [
    'AugmentScan',
    'DetectionPointSample',
    'DropNoReturns',
    'LoadCameraImages',
    'LoadLiDARSweep',
    'LoadMaskedImage',
    'LoadNextSweep',
    'LoadPointLabels',
    'LoadSuperpixels',
    'LoadTeacherFeatures',
    'PackDistillationInputs',
    'PairPointsWithPixels',
    'SampleOccupancyQueries',
    'SampledPointsFirst',
]
