# PointRCNN on a distilled MinkUNet-34. The user gives model.backbone.student_weights (an exported student; None is the
# random baseline).
_base_ = './point_rcnn_pointnet2.py'

model = dict(
    backbone=dict(
        _delete_=True, type='StudentPointBackbone', voxel_size_m=0.05, out_channels=128,
        student=dict(type='MinkUNetStudent', depth=34, variant='pointcept'), student_weights='required'),
    neck=None)
