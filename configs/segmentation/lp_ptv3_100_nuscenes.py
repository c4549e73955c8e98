# Linear probing with every training label of nuScenes, 50 epochs.
_base_ = [
    '../_base_/segmentation_runtime.py', '../_base_/datasets/nuscenes_segmentation.py',
    '../_base_/models/linear_probe_ptv3.py', '../_base_/schedules/onecycle_ptv3_50e.py'
]

model = dict(num_classes=16)
