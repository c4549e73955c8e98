# Fine-tuning with a tenth of the frames of the demo's nuScenes set, on a CPU. Says nothing about real roads.
_base_ = [
    '../_base_/segmentation_runtime.py', '../_base_/datasets/nuscenes_segmentation.py',
    '../_base_/models/segmentor_minkunet14_small.py', '../_base_/schedules/transfer_cpu.py'
]
root = '{{$DEMO:work_dirs/demo}}/data/'
simulated = dict(data_root=root + 'nuscenes/', data_prefix=dict(pts_semantic_mask='lidarseg/v1.0-mini'))

# 45 steps in all: too few for Mix3D, and the fresh layer must take larger ones than the network.
model = dict(num_classes=16, data_preprocessor=dict(mix3d_prob=0.0))
train_dataloader = dict(
    batch_size=2, num_workers=1, dataset=dict(frame_list=root + 'splits/nuscenes/uniform0_10.json', **simulated))
val_dataloader = dict(num_workers=1, dataset=simulated)
test_dataloader = val_dataloader
default_hooks = dict(logger=dict(interval=5))
train_cfg = dict(max_epochs=15, val_interval=15)
optim_wrapper = dict(
    optimizer=dict(lr=0.002), paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}))
