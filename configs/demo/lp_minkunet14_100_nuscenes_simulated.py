# Linear probing on the demo's nuScenes set, on a CPU. Says nothing about real roads.
_base_ = [
    '../_base_/segmentation_runtime.py', '../_base_/datasets/nuscenes_segmentation.py',
    '../_base_/models/linear_probe_minkunet14_small.py', '../_base_/schedules/transfer_cpu.py'
]

import os  # below _base_: above it, mmengine takes the file for one of its other kind

demo = os.environ.get('DEMO', 'work_dirs/demo')
simulated = dict(
    data_root=demo + '/data/nuscenes/', data_prefix=dict(pts_semantic_mask='lidarseg/v1.0-mini'))

# Half of all points are road, one of 1,400 is on a cone: by the inverse root of their share, or nine classes stay at 0.
class_weight = [15.4, 21.3, 5.4, 3.6, 18.3, 20.9, 15.3, 37.8, 8.7, 10.8, 1.36, 8.1, 4.26, 6.8, 2.67, 3.54]
model = dict(num_classes=16, losses=dict(ce=dict(class_weight=class_weight)))
train_dataloader = dict(batch_size=2, num_workers=1, dataset=simulated)
val_dataloader = dict(num_workers=1, dataset=simulated)
test_dataloader = val_dataloader
default_hooks = dict(logger=dict(interval=5))
# So few steps for one linear layer must be large ones.
train_cfg = dict(max_epochs=4, val_interval=4)
optim_wrapper = dict(optimizer=dict(lr=0.2))
