# Waymo's detection benchmark: cars, pedestrians and cyclists all around the car. Index: tools/prepare_waymo.py
# A few-label leaf sets train_dataloader.dataset.frame_list; the ground-truth sampler gets the same. Lists are made
# where the set is: each 20th frame (5 %) and each 10th (10 %), as mmdet3d's load_interval takes them, by
#   tools/splits.py data/waymo_detection/waymo_infos_train.pkl --mode stride --percent 5 10
# which writes configs/splits/waymo_detection/stride_5.json and stride_10.json; whole segments with --mode scene.
data_root = 'data/waymo_detection/'
class_names = ('Pedestrian', 'Cyclist', 'Car')
point_cloud_range = (-75.2, -75.2, -2, 75.2, 75.2, 4)
# Of about 170,000 points. A leaf that lets the backbone see them all replaces DetectionPointSample by
# SampledPointsFirst, takes out PointShuffle, and sets model.num_points.
num_points = 65536

# Waymo's intensity has no upper bound; tanh of it is in 0..1, which is what the student saw: nuScenes' 0..255 times
# 1/255.
load = dict(type='LoadLiDARSweep', load_dim=5, norm_intensity=True, intensity_scale=1.0)
db_sampler = dict(
    type='SplitDataBaseSampler',
    gt_db='split',  # 'full' pastes objects of frames that a few-label run must not see
    data_root=data_root,
    info_path=data_root + 'waymo_dbinfos_train.pkl',
    rate=1.0,
    prepare=dict(filter_by_min_points=dict(Car=5, Pedestrian=5, Cyclist=5)),
    sample_groups=dict(Car=15, Pedestrian=10, Cyclist=10),
    classes=class_names,
    points_loader=load)
meta_keys = ('frame_id', 'context_name', 'timestamp', 'lidar_path', 'box_type_3d', 'box_mode_3d')
train_pipeline = [
    load,
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='ObjectSample', db_sampler=db_sampler),
    dict(type='RandomFlip3D', flip_ratio_bev_horizontal=0.5, flip_ratio_bev_vertical=0.5),
    dict(type='GlobalRotScaleTrans', rot_range=(-0.78539816, 0.78539816), scale_ratio_range=(0.95, 1.05)),
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='DetectionPointSample', num_points=num_points),
    dict(type='PointShuffle'),
    dict(type='Pack3DDetInputs', keys=('points', 'gt_bboxes_3d', 'gt_labels_3d'), meta_keys=meta_keys),
]
test_pipeline = [
    load,
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='DetectionPointSample', num_points=num_points),
    dict(type='Pack3DDetInputs', keys=('points',), meta_keys=meta_keys),
]

frames = dict(type='WaymoDetectionDataset', data_root=data_root, metainfo=dict(classes=class_names))
train_dataloader = dict(
    batch_size=2,  # x 8 GPUs = 16
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(ann_file='waymo_infos_train.pkl', pipeline=train_pipeline, **frames))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),  # each frame counts once on any number of GPUs
    dataset=dict(ann_file='waymo_infos_val.pkl', pipeline=test_pipeline, test_mode=True, **frames))
test_dataloader = val_dataloader
val_evaluator = dict(type='WaymoAPMetric', ann_file=data_root + 'waymo_infos_val.pkl')
test_evaluator = val_evaluator
