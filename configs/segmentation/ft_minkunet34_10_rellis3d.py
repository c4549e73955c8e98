# Fine-tuning with 10 % of RELLIS-3D's training frames, 100 epochs.
_base_ = [
    '../_base_/segmentation_runtime.py', '../_base_/datasets/rellis3d_segmentation.py',
    '../_base_/models/segmentor_minkunet34.py', '../_base_/schedules/onecycle_100e.py'
]

model = dict(num_classes=14)
train_dataloader = dict(dataset=dict(frame_list='configs/splits/rellis3d/uniform0_10.json'))
