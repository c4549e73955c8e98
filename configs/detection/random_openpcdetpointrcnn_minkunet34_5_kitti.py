# PointRCNN with OpenPCDet's second stage on a MinkUNet-34 that starts at random, 5 % of KITTI: the first public list.
_base_ = [
    '../_base_/detection_runtime.py', '../_base_/datasets/kitti_detection.py',
    '../_base_/models/point_rcnn_minkunet34_openpcdet.py', '../_base_/schedules/pointrcnn_80e.py'
]

model = dict(backbone=dict(student_weights=None))
train_dataloader = dict(dataset=dict(frame_list='configs/splits/kitti/public_5_0.json'))
