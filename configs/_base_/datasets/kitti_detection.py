# KITTI's object detection benchmark: cars, pedestrians and cyclists in front of the car. Index: tools/prepare_kitti.py
# A few-label leaf sets train_dataloader.dataset.frame_list (configs/splits/kitti); its objects alone are pasted.
data_root = 'data/kitti/'
class_names = ('Pedestrian', 'Cyclist', 'Car')
point_cloud_range = (0, -40, -3, 70.4, 40, 1)

# KITTI stores its intensity as 0..1, which is what the student saw: nuScenes' 0..255 times 1/255.
load = dict(type='LoadLiDARSweep', load_dim=4, intensity_scale=1.0)
db_sampler = dict(
    type='SplitDataBaseSampler',
    gt_db='split',  # 'full' pastes objects of frames that a few-label run must not see
    data_root=data_root,
    info_path=data_root + 'kitti_dbinfos_train.pkl',
    rate=1.0,
    prepare=dict(
        filter_by_difficulty=(-1,),
        filter_by_min_points=dict(Car=5, Pedestrian=5, Cyclist=5)),
    sample_groups=dict(Car=20, Pedestrian=15, Cyclist=15),
    classes=class_names,
    points_loader=load)
meta_keys = ('frame_id', 'lidar_path', 'box_type_3d', 'box_mode_3d')
# OpenPCDet's PointRCNN: no ObjectNoise, and boxes that the turn moved out of range go with their points.
train_pipeline = [
    load,
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='ObjectSample', db_sampler=db_sampler),
    dict(type='RandomFlip3D', flip_ratio_bev_horizontal=0.5),
    dict(type='GlobalRotScaleTrans', rot_range=(-0.78539816, 0.78539816), scale_ratio_range=(0.95, 1.05)),
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='DetectionPointSample', num_points=16384, sample_range=40.0),
    dict(type='PointShuffle'),
    dict(type='Pack3DDetInputs', keys=('points', 'gt_bboxes_3d', 'gt_labels_3d'), meta_keys=meta_keys),
]
test_pipeline = [
    load,
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='DetectionPointSample', num_points=16384, sample_range=40.0),
    dict(type='Pack3DDetInputs', keys=('points',), meta_keys=meta_keys),
]

frames = dict(
    type='KittiDetectionDataset', data_root=data_root, metainfo=dict(classes=class_names),
    data_prefix=dict(pts='training/velodyne_reduced', img='training/image_2'), box_type_3d='LiDAR')
train_dataloader = dict(
    batch_size=2,  # x 8 GPUs = 16
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(ann_file='kitti_infos_train.pkl', pipeline=train_pipeline, **frames))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),  # each frame counts once on any number of GPUs
    dataset=dict(ann_file='kitti_infos_val.pkl', pipeline=test_pipeline, test_mode=True, **frames))
test_dataloader = val_dataloader
val_evaluator = dict(type='KittiAPMetric', ann_file=data_root + 'kitti_infos_val.pkl')
test_evaluator = val_evaluator
