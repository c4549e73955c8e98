# The reference: PointRCNN on PointNet++, repaired, 100 % of KITTI.
_base_ = [
    '../_base_/detection_runtime.py', '../_base_/datasets/kitti_detection.py',
    '../_base_/models/point_rcnn_pointnet2.py', '../_base_/schedules/pointrcnn_80e.py'
]
