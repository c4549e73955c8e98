# What labelled LiDAR sets share. A set's own file names its class, files and intensity.
load = dict(type='LoadLiDARSweep', load_dim=4, intensity_scale=1.0)
labels = dict(type='LoadPointLabels')
meta_keys = ('frame_id', 'lidar_path', 'sample_data_token')
train_pipeline = [
    load, labels, dict(type='AugmentScan'),
    dict(type='Pack3DDetInputs', keys=('points', 'pts_semantic_mask'), meta_keys=meta_keys),
]
pack_test = dict(type='Pack3DDetInputs', keys=('points',), meta_keys=meta_keys)
test_pipeline = [load, labels, pack_test]
# tools/test.py --tta: five scales, each as it is and flipped in x and y. Reported apart.
tta_views = [[
    dict(type='AugmentScan', rotate_prob=0.0, scale_range=(scale, scale), flip_prob=flip, jitter_sigma_m=0.0)
    for scale in (0.9, 0.95, 1.0, 1.05, 1.1) for flip in (0.0, 1.0)
], [pack_test]]
tta_pipeline = [load, labels, dict(type='TestTimeAug', transforms=tta_views)]
tta_model = dict(type='Seg3DTTAModel')

train_dataloader = dict(
    batch_size=4,  # x 4 GPUs = 16
    num_workers=4,
    persistent_workers=True,
    drop_last=True,  # Mix3D needs pairs
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),  # each frame counts once on any number of GPUs
    dataset=dict(pipeline=test_pipeline, test_mode=True))
val_evaluator = dict(type='SafeSegMetric')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
