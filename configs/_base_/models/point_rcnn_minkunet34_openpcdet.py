# PointRCNN on a distilled MinkUNet-34 with OpenPCDet's second stage in three things where mmdet3d's differs
# (tools/cfgs/kitti_models/pointrcnn.yaml and pcdet/models/roi_heads there).
_base_ = './point_rcnn_minkunet34.py'

model = dict(
    roi_head=dict(bbox_head=dict(
        # USE_BN False: no BatchNorm in the set abstractions. The branches of score and box have it there, too.
        sa_cfg=dict(type='PointSAModule', pool_mod='max', use_xyz=True, norm_cfg=None),
        # CLS_SCORE_TYPE cls, CLS_FG_THRESH 0.6, CLS_BG_THRESH 0.45: what lies between teaches no score.
        score_target='class')),
    train_cfg=dict(rcnn=dict(cls_pos_thr=0.6, cls_neg_thr=0.45)),
    # NMS_CONFIG.TEST.NMS_POST_MAXSIZE
    test_cfg=dict(rpn=dict(nms_cfg=dict(nms_post=100))))
