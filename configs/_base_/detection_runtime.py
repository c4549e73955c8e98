# Transfer to detection: what every run shares.
_base_ = './default_runtime.py'

# PointRCNN waits for the GPU many times a step, and fails on weights that are NaN before a late look would tell.
default_hooks = dict(finite_loss=dict(late=False))
custom_hooks = [dict(type='SeedHook'), dict(type='FrozenBackboneHook'), dict(type='WriteResultsHook')]
