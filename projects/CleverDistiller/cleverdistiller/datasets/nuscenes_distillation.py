from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.distillation_dataset import DistillationDataset


@DATASETS.register_module()
class NuScenesDistillation(DistillationDataset):
    """nuScenes keyframes: one 32-beam sweep and six 1600x900 cameras.

    Reads the info files of ``tools/prepare_nuscenes.py`` and those of mmdet3d's own converter. See
    :class:`DistillationDataset` for the arguments.
    """

    METAINFO = dict(
        cameras=('CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_BACK_RIGHT', 'CAM_BACK', 'CAM_BACK_LEFT', 'CAM_FRONT_LEFT')
    )
