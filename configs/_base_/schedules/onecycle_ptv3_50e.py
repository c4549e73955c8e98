# Pointcept's learning rates for Point Transformer V3: 0.002, a tenth of it for what is inside a block.
_base_ = './onecycle_50e.py'

optim_wrapper = dict(
    optimizer=dict(lr=0.002), paramwise_cfg=dict(custom_keys={'_blocks.': dict(lr_mult=0.1)}))
