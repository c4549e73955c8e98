# The pretraining recipe again (A1 of the paper); head and backbone may learn at different rates.
_base_ = './onecycle_50e.py'

optim_wrapper = dict(paramwise_cfg=dict(
    custom_keys=dict(backbone=dict(lr_mult=1.0), decode_head=dict(lr_mult=1.0))))
