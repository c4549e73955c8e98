# PointRCNN as mmdet3d builds it, on PointNet++ (the reference), with what keeps it from training put right:
# downstream/detectors/__init__.py lists what and where.
_base_ = 'mmdet3d::_base_/models/point_rcnn.py'

model = dict(
    type='TransferPointRCNN',
    rpn_head=dict(
        type='TransferPointRPNHead',
        # In the order of the classes: pedestrian, cyclist, car.
        bbox_coder=dict(mean_size=[[0.8, 0.6, 1.73], [1.76, 0.6, 1.73], [3.9, 1.6, 1.56]])),
    roi_head=dict(type='TransferPointRCNNRoIHead', bbox_head=dict(type='TransferPointRCNNBboxHead')),
    train_cfg=dict(
        # Where the detector looks for it; mmdet3d's config has it one level down, and trains with the test's.
        rpn_proposal=dict(nms_cfg=dict(use_rotate_nms=True, score_thr=None, iou_thr=0.8, nms_pre=9000, nms_post=512)),
        rpn=dict(_delete_=True),
        rcnn=dict(
            sampler=dict(
                _delete_=True, type='PiecewiseRoISampler', num=128, pos_fraction=0.5, neg_piece_fractions=[0.8, 0.2],
                neg_iou_piece_thrs=[0.55, 0.1]))))
