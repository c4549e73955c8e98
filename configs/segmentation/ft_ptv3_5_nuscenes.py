# Fine-tuning with 5 % of nuScenes's training frames, 100 epochs.
_base_ = [
    '../_base_/segmentation_runtime.py', '../_base_/datasets/nuscenes_segmentation.py',
    '../_base_/models/segmentor_ptv3.py', '../_base_/schedules/onecycle_ptv3_100e.py'
]

model = dict(num_classes=16)
train_dataloader = dict(dataset=dict(frame_list='configs/splits/nuscenes/uniform0_5.json'))
