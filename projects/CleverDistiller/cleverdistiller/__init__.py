"""CleverDistiller for MMDetection3D: importing it fills mmdet3d's registries."""

from cleverdistiller import datasets, downstream, engine, evaluation, models

__all__ = ['datasets', 'downstream', 'engine', 'evaluation', 'models']
__version__ = '0.1.0'
