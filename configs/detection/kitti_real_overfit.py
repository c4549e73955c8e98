# Three real KITTI frames on a CPU: the whole detector learns them by heart, which tells that it can learn.
#   python tools/prepare_kitti.py data/kitti --out data/kitti_sample --splits-from configs/splits/kitti_sample
_base_ = [
    '../_base_/detection_runtime.py', '../_base_/datasets/kitti_detection.py',
    '../_base_/models/point_rcnn_minkunet14_small.py', '../_base_/schedules/pointrcnn_80e.py'
]
data_root = 'data/kitti_sample/'

# A voxel's first point speaks for it, as in testing.
model = dict(backbone=dict(voxel_size_m=0.1, student_weights=None, random_representative=False))

# By heart: no pasted objects, no turns.
by_heart = [step for step in _base_.train_pipeline if step['type'] not in (
    'ObjectSample', 'RandomFlip3D', 'GlobalRotScaleTrans')]
train_dataloader = dict(
    batch_size=3, num_workers=1, dataset=dict(data_root=data_root, pipeline=by_heart))
val_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root, ann_file='kitti_infos_train.pkl'))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'kitti_infos_train.pkl')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=300, val_interval=100)
optim_wrapper = dict(optimizer=dict(lr=0.004))
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=100))
log_processor = dict(window_size=1)
