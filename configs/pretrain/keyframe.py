# One real nuScenes keyframe on a CPU: the whole method at full student size, in minutes.
# No teacher weights are shipped, so the teacher is random and says so; for the real one:
#   --cfg-options model.teacher.weights=hub      (or a path to a timm or official DINOv2 file)
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/nuscenes_distill.py',
    '../_base_/models/cleverdistiller_minkunet34.py', '../_base_/schedules/onecycle_50e.py'
]

import os  # below _base_: above it, mmengine takes the file for one of its other kind

data_root = os.environ.get('CLEVERDISTILLER_REAL_DATA', '../shared/data') + '/nuscenes_keyframe/'
frame = dict(data_root=data_root, ann_file='n015-2018-07-24-11-22-45+0800.pkl', data_prefix=dict(
    _delete_=True, **{key: '' for key in ('pts', *_base_.cameras)}))

# What a CPU affords: 0.1 m voxels (the paper: 0.05) and the narrow head of the paper's Table 3 (3x256); at
# 0.05 m and 2048 a step takes 14 s instead of 5.
model = dict(
    data_preprocessor=dict(voxel_size_m=0.1), teacher=dict(weights='random'),
    projection_head=dict(hidden_channels=256))
# One frame is there to be learned by heart: without augmentation the coordinates tell what the image shows.
train_pipeline = [step for step in _base_.train_pipeline if step['type'] != 'AugmentScan']
train_dataloader = dict(
    batch_size=1, num_workers=1, dataset=dict(repeat=10, pipeline=train_pipeline, **frame))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=frame)
val_evaluator = dict(points_per_frame=25600)  # one frame gives them all
test_dataloader = val_dataloader
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=9, val_interval=9)
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(_base_.optim_wrapper.optimizer, lr=0.002))
param_scheduler = dict(pct_start=0.3)  # 4 % of 90 iterations would be no warm-up
default_hooks = dict(logger=dict(interval=1))
log_processor = dict(window_size=1)
