_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/nuscenes_distill_superpixels.py',
    '../_base_/models/slidr_minkunet34.py', '../_base_/schedules/onecycle_100e.py'
]

model = dict(teacher=dict(name='vit_small_patch14_dinov2.lvd142m'))
