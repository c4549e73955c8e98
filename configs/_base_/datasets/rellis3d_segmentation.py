# RELLIS-3D. Index: tools/prepare_segmentation.py rellis3d
_base_ = './segmentation.py'
data_root = 'data/rellis3d/'

load = dict(type='LoadLiDARSweep', load_dim=4, intensity_scale=64.0)  # files hold raw / 65535, at most about 0.012
first = [load, _base_.labels, dict(type='DropNoReturns')]
train_pipeline = [*first, *_base_.train_pipeline[2:]]
test_pipeline = [*first, *_base_.test_pipeline[2:]]
tta_pipeline = [*first, *_base_.tta_pipeline[2:]]

scans = dict(type='Rellis3DSegmentation', data_root=data_root)
train_dataloader = dict(dataset=dict(ann_file='rellis3d_infos_train.pkl', pipeline=train_pipeline, **scans))
val_dataloader = dict(dataset=dict(ann_file='rellis3d_infos_val.pkl', pipeline=test_pipeline, **scans))
test_dataloader = val_dataloader
