# SLidR under the same recipe. Elsewhere PPKT and SLidR are trained with
#   SLidR's code: optimizer=dict(type='SGD', lr=0.5, momentum=0.9, dampening=0.1, weight_decay=1e-4), cosine decay,
#     50 epochs, no Mix3D, data_preprocessor.pair_points='all', image crops and flips (LoadCameraImages.hflip_prob=0.5)
#   LiMoE's rerun with DINOv2: optimizer=dict(type='AdamW', lr=0.01), OneCycle with pct_start=0.2, 100 epochs
_base_ = './cleverdistiller_minkunet34.py'

model = dict(
    _delete_=True, type='SLidR', embed_channels=64,
    data_preprocessor=_base_.model.data_preprocessor, teacher=_base_.model.teacher, student=_base_.model.student,
    contrastive_loss=dict(type='InfoNCELoss', temperature=0.07))
