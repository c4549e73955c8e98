# Detection with half of the frames of a simulated set, on a CPU, from random: see docs/detection.md. Says nothing about
# real roads.
_base_ = [
    '../_base_/detection_runtime.py', '../_base_/datasets/kitti_detection.py',
    '../_base_/models/point_rcnn_minkunet14_small.py', '../_base_/schedules/pointrcnn_80e.py'
]
data_root = 'data/sim_kitti/'

model = dict(backbone=dict(student_weights=None))
train_pipeline = _base_.train_pipeline
train_pipeline[2]['db_sampler'].update(data_root=data_root, info_path=data_root + 'kitti_dbinfos_train.pkl')
train_dataloader = dict(
    num_workers=1, dataset=dict(
        data_root=data_root, pipeline=train_pipeline, frame_list='configs/splits/kitti_simulated/uniform0_50.json'))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'kitti_infos_val.pkl')
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=40, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=0.005))
default_hooks = dict(logger=dict(interval=5))
