# Fine-tuning with a tenth of the frames of the demo's nuScenes set, on a CPU. Says nothing about real roads.
_base_ = [
    '../_base_/segmentation_runtime.py', '../_base_/datasets/nuscenes_segmentation.py',
    '../_base_/models/segmentor_minkunet14_small.py', '../_base_/schedules/transfer_cpu.py'
]
root = '{{$DEMO:work_dirs/demo}}/data/'
simulated = dict(data_root=root + 'nuscenes/', data_prefix=dict(pts_semantic_mask='lidarseg/v1.0-mini'))

model = dict(num_classes=16)
train_dataloader = dict(
    batch_size=2, num_workers=1, dataset=dict(frame_list=root + 'splits/nuscenes/uniform0_10.json', **simulated))
val_dataloader = dict(num_workers=1, dataset=simulated)
test_dataloader = val_dataloader
default_hooks = dict(logger=dict(interval=5))
train_cfg = dict(max_epochs=20, val_interval=20)
