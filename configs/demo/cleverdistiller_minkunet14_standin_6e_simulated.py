# Pretraining in minutes on a CPU, over the simulated nuScenes set of `make demo`, from the stand-in teacher of
# teacher_vit_simulated.py. Another teacher: --cfg-options model.teacher.weights=... Says nothing about real roads.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/nuscenes_distill.py',
    '../_base_/models/cleverdistiller_minkunet34.py', '../_base_/schedules/onecycle_50e.py'
]

import os  # below _base_: above it, mmengine takes the file for one of its other kind

demo = os.environ.get('DEMO', 'work_dirs/demo')
data_root = demo + '/data/nuscenes/'
size_hw = (168, 336)

model = dict(
    data_preprocessor=dict(voxel_size_m=0.2),
    teacher=dict(
        name='vit_tiny_patch16_224', arch=dict(patch_size=14, depth=3, mlp_ratio=2.0, img_size=size_hw),
        weights=demo + '/teacher/teacher.safetensors', image_size_hw=size_hw,
        features='post_norm'),  # the stand-in learned through its final LayerNorm
    student=dict(depth=14, width=16, variant='mmdet3d'), projection_head=dict(hidden_channels=256))
train_pipeline = _base_.train_pipeline
train_pipeline[1]['size_hw'] = size_hw
train_pipeline[3]['num_queries'] = 512
train_dataloader = dict(batch_size=2, num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=6, val_interval=6)
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(_base_.optim_wrapper.optimizer, lr=0.002))
param_scheduler = dict(pct_start=0.2)
default_hooks = dict(logger=dict(interval=5))
