# Fine-tuning with 1 % of Waymo's training frames, 100 epochs.
_base_ = [
    '../_base_/segmentation_runtime.py', '../_base_/datasets/waymo_segmentation.py',
    '../_base_/models/segmentor_ptv3.py', '../_base_/schedules/onecycle_ptv3_100e.py'
]

model = dict(num_classes=22)
train_dataloader = dict(dataset=dict(frame_list='configs/splits/waymo/uniform0_1.json'))
