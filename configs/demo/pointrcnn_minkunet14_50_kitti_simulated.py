# Detection with half of the frames of the demo's KITTI set, on a CPU. Says nothing about real roads.
_base_ = [
    '../_base_/detection_runtime.py', '../_base_/datasets/kitti_detection.py',
    '../_base_/models/point_rcnn_minkunet14_small.py', '../_base_/schedules/pointrcnn_80e.py'
]

import os  # below _base_: above it, mmengine takes the file for one of its other kind

root = os.environ.get('DEMO', 'work_dirs/demo') + '/data/'
data_root = root + 'kitti/'

# The student sees whole clouds, the heads 4,096 points of each: of so few, the best 1,024 are not all of cars, whose
# points are many. Rotated NMS of them would cost more than everything else.
proposals = dict(nms_cfg=dict(use_rotate_nms=False, nms_pre=1024, nms_post=128))
model = dict(num_points=4096, train_cfg=dict(rpn_proposal=proposals, rcnn=dict(sampler=dict(num=16))), test_cfg=dict(rpn=proposals))
changed = dict(DetectionPointSample=dict(type='SampledPointsFirst', num_points=4096, sample_range=40.0), ObjectSample=dict(_base_.train_pipeline[2], db_sampler=dict(
    _base_.db_sampler, data_root=data_root, info_path=data_root + 'kitti_dbinfos_train.pkl')))
train_pipeline = [
    changed.get(step['type'], step) for step in _base_.train_pipeline
    if step['type'] not in ('GlobalRotScaleTrans', 'PointShuffle')]
test_pipeline = [changed.get(step['type'], step) for step in _base_.test_pipeline]
# Scan by scan: more steps in the same time.
train_dataloader = dict(
    batch_size=1, num_workers=1, dataset=dict(
        data_root=data_root, pipeline=train_pipeline, frame_list=root + 'splits/kitti/uniform0_50.json'))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'kitti_infos_val.pkl')
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=32, val_interval=32)
optim_wrapper = dict(optimizer=dict(lr=0.005))
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=4))
