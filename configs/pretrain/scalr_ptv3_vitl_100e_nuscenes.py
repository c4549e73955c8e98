_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/nuscenes_distill_no_queries.py',
    '../_base_/models/scalr_ptv3.py', '../_base_/schedules/onecycle_ptv3_100e.py'
]

model = dict(teacher=dict(name='vit_large_patch14_dinov2.lvd142m'))
