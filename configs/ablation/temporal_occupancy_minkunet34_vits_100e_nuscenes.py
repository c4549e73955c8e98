# Table A6, "both": temporal consistency beside the occupancy task, on the MLP head. The paper names no head for
# this row; its row with occupancy alone has the MLP head, so that the two differ in one thing only.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/nuscenes_distill_temporal.py',
    '../_base_/models/cleverdistiller_minkunet34.py', '../_base_/schedules/onecycle_100e.py'
]

model = dict(
    teacher=dict(name='vit_small_patch14_dinov2.lvd142m'),
    auxiliaries=[dict(type='TemporalConsistency', weight=0.05)])
