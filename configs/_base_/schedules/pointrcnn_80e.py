# OpenPCDet's recipe for PointRCNN: 80 epochs (the data set is not repeated), AdamW, one cycle up to 0.01 and down to
# 1e-7, beta1 0.95-0.85-0.95. For 8 GPUs x 2 frames; for another batch add --auto-scale-lr.
# Another learning rate for the student: paramwise_cfg=dict(custom_keys={'backbone.student': dict(lr_mult=0.1)}).
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01, betas=(0.95, 0.99), weight_decay=0.01),
    clip_grad=dict(max_norm=10, norm_type=2))
param_scheduler = dict(type='OneCycle', by_epoch=False, pct_start=0.4, div_factor=10, final_div_factor=10000)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=80, val_interval=20)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
