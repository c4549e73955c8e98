# nuScenes keyframes with six cameras. Index: tools/prepare_nuscenes.py
data_root = 'data/nuscenes/'
image_size_hw = (224, 448)  # 16 x 32 patches of 14 px; the teacher must be given the same

cameras = ('CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_BACK_RIGHT', 'CAM_BACK', 'CAM_BACK_LEFT', 'CAM_FRONT_LEFT')
data_prefix = dict(pts='samples/LIDAR_TOP', **{camera: f'samples/{camera}' for camera in cameras})

train_pipeline = [
    dict(type='LoadLiDARSweep', load_dim=5, intensity_scale=1 / 255),
    dict(type='LoadCameraImages', size_hw=image_size_hw),
    # On raw points, before any augmentation.
    dict(type='PairPointsWithPixels', min_depth_m=1.0),
    dict(type='SampleOccupancyQueries', num_queries=2048, support='radius'),
    dict(type='AugmentScan'),
    dict(type='PackDistillationInputs'),
]
# RankMe needs sweeps only.
val_pipeline = [
    dict(type='LoadLiDARSweep', load_dim=5, intensity_scale=1 / 255),
    dict(type='PackDistillationInputs'),
]

train_dataloader = dict(
    batch_size=4,  # x 4 GPUs = 16
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    pin_memory=True,  # for copies that do not wait; without a GPU it does nothing
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='NuScenesDistillation', data_root=data_root, ann_file='nuscenes_infos_train.pkl',
        data_prefix=data_prefix, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='NuScenesDistillation', data_root=data_root, ann_file='nuscenes_infos_val.pkl',
        data_prefix=data_prefix, pipeline=val_pipeline, test_mode=True, num_frames=100))
val_evaluator = dict(type='RankMeMetric', points_per_frame=256)  # 25,600 points
test_dataloader = val_dataloader
test_evaluator = val_evaluator
