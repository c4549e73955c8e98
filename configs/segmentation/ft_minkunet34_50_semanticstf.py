# Fine-tuning with 50 % of SemanticSTF's training frames, 100 epochs.
_base_ = [
    '../_base_/segmentation_runtime.py', '../_base_/datasets/semanticstf_segmentation.py',
    '../_base_/models/segmentor_minkunet34.py', '../_base_/schedules/onecycle_100e.py'
]

model = dict(num_classes=19)
train_dataloader = dict(dataset=dict(frame_list='configs/splits/semanticstf/uniform0_50.json'))
