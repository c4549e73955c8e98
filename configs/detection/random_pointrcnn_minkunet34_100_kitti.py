# PointRCNN on a MinkUNet-34 that starts at random, 100 % of KITTI: all 3,712 training frames.
_base_ = [
    '../_base_/detection_runtime.py', '../_base_/datasets/kitti_detection.py',
    '../_base_/models/point_rcnn_minkunet34.py', '../_base_/schedules/pointrcnn_80e.py'
]

model = dict(backbone=dict(student_weights=None))
