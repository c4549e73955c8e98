from cleverdistiller.datasets import transforms
from cleverdistiller.datasets.distillation_dataset import DistillationDataset
from cleverdistiller.datasets.nuscenes_distillation import NuScenesDistillation

__all__ = ['DistillationDataset', 'NuScenesDistillation', 'transforms']
