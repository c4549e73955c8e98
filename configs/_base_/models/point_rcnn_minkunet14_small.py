# What a CPU affords: a narrow MinkUNet-14 on 0.2 m voxels; a second stage of fewer proposals, of fewer points each (it
# costs more than the student otherwise); fewer boxes for rotated NMS, which costs their square.
_base_ = './point_rcnn_minkunet34.py'

proposals = dict(nms_cfg=dict(nms_pre=512, nms_post=64))
model = dict(
    backbone=dict(voxel_size_m=0.2, student=dict(depth=14, width=16, variant='mmdet3d')),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=dict(num_sampled_points=128)),
        bbox_head=dict(num_points=(32, 16, -1))),
    train_cfg=dict(rpn_proposal=proposals, rcnn=dict(sampler=dict(num=32))),
    test_cfg=dict(rpn=proposals))
