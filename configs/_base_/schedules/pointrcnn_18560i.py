# The same in iterations, as many for a few labels as for all: 80 epochs of KITTI's 3,712 frames in batches of 16.
_base_ = './pointrcnn_80e.py'

train_cfg = dict(_delete_=True, type='SeededIterTrainLoop', max_iters=18560, val_interval=4640)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2320))
log_processor = dict(by_epoch=False)
