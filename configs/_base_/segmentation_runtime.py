# Transfer to segmentation: what every run shares.
_base_ = './default_runtime.py'

custom_hooks = [
    dict(type='SeedHook'), dict(type='mmdet.NumClassCheckHook'), dict(type='FrozenBackboneHook'),
    dict(type='WriteResultsHook')
]
