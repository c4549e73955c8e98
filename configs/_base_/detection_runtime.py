# Transfer to detection: what every run shares.
_base_ = './default_runtime.py'

custom_hooks = [
    dict(type='SeedHook'), dict(type='FiniteLossHook'), dict(type='FrozenBackboneHook'), dict(type='WriteResultsHook')
]
