# What every run shares: registration, hooks, logging.
custom_imports = dict(imports=['cleverdistiller'], allow_failed_imports=False)
default_scope = 'mmdet3d'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Whole or absent files, resumable after a kill, nothing that needs unpickling.
    checkpoint=dict(type='SafeCheckpointHook', interval=1, max_keep_ckpts=2),
    # Here, not among custom_hooks, which a config replaces as a whole: guards of every training.
    resumed_settings=dict(type='ResumedSettingsHook'),
    finite_loss=dict(type='FiniteLossHook'),
    nothing_to_learn=dict(type='NothingToLearnHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'))
custom_hooks = [dict(type='SeedHook'), dict(type='ExportStudentHook')]

randomness = dict(seed=0)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))

visualizer = dict(
    type='Visualizer', name='visualizer',
    vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
