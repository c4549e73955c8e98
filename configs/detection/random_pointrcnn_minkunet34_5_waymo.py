# PointRCNN on a MinkUNet-34 that starts at random, 5 % of Waymo: each 20th frame.
# The list is made where the data set is: configs/_base_/datasets/waymo_detection.py.
_base_ = [
    '../_base_/detection_runtime.py', '../_base_/datasets/waymo_detection.py',
    '../_base_/models/point_rcnn_minkunet34.py', '../_base_/schedules/pointrcnn_80e.py'
]

model = dict(backbone=dict(student_weights=None))
train_dataloader = dict(dataset=dict(frame_list='configs/splits/waymo_detection/stride_5.json'))
