# The demo's stand-in teacher: a small ViT learns in about two minutes of a CPU what patches of simulated images show
# (tools/simulate.py --format images). It knows looks, as a foundation model does, and never saw a LiDAR point; on real
# images it is worth nothing. Writes teacher.safetensors; its `teacher` metadata are the options of TimmViTTeacher.
_base_ = ['../_base_/default_runtime.py', '../_base_/schedules/onecycle_50e.py']

import os  # below _base_: above it, mmengine takes the file for one of its other kind

data_root = os.environ.get('DEMO', 'work_dirs/demo') + '/data/images/'
image_size_hw = (168, 336)  # 12 x 24 patches of 14 px

model = dict(
    type='PatchSegmentor', name='vit_tiny_patch16_224', arch=dict(patch_size=14, depth=3, mlp_ratio=2.0),
    num_classes=28, image_size_hw=image_size_hw, balance=0.25)
load = dict(type='LoadMaskedImage', size_hw=image_size_hw)
dataset = dict(type='MaskedImages', data_root=data_root, val_scenes=3)
train_dataloader = dict(
    batch_size=4, num_workers=1, persistent_workers=True, drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(dataset, part='train', pipeline=[dict(load, min_crop=0.8, hflip_prob=0.5)]))
val_dataloader = dict(
    batch_size=4, num_workers=1, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, part='val', test_mode=True, pipeline=[load]))
test_dataloader, val_evaluator, test_evaluator = val_dataloader, dict(type='SafeSegMetric'), dict(type='SafeSegMetric')

optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.003, weight_decay=0.05))
train_cfg = dict(max_epochs=9, val_interval=9)
param_scheduler = dict(pct_start=0.2)
custom_hooks = [dict(type=kind) for kind in ('SeedHook', 'WriteResultsHook', 'ExportTeacherHook')]
