"""CleverDistiller for MMDetection3D: importing it fills mmdet3d's registries."""

from cleverdistiller.compat import let_mmcv_import_without_operators

let_mmcv_import_without_operators()  # mmdet3d, which all the rest imports, cannot be imported without them

from cleverdistiller import datasets, downstream, engine, evaluation, models  # noqa: E402

__all__ = ['datasets', 'downstream', 'engine', 'evaluation', 'models']
__version__ = '0.1.0'
