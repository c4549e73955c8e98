# Pretraining in minutes on a CPU, over the simulated nuScenes set of docs/segmentation.md. The teacher is random and
# says so; the real one: --cfg-options model.teacher.weights=hub
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/nuscenes_distill.py',
    '../_base_/models/cleverdistiller_minkunet34.py', '../_base_/schedules/onecycle_50e.py'
]
data_root = 'data/sim_nuscenes/'

model = dict(
    data_preprocessor=dict(voxel_size_m=0.2),
    teacher=dict(weights='random', image_size_hw=(112, 224)),
    student=dict(depth=14, width=16), projection_head=dict(hidden_channels=256))
train_pipeline = _base_.train_pipeline
train_pipeline[1]['size_hw'] = (112, 224)
train_pipeline[3]['num_queries'] = 512
train_dataloader = dict(batch_size=2, num_workers=2, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=3, val_interval=3)
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(_base_.optim_wrapper.optimizer, lr=0.002))
param_scheduler = dict(pct_start=0.2)
default_hooks = dict(logger=dict(interval=5))
