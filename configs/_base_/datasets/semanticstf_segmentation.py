# SemanticSTF. Index: tools/prepare_segmentation.py semanticstf
_base_ = './segmentation.py'
data_root = 'data/semanticstf/'

load = dict(type='LoadLiDARSweep', load_dim=5, intensity_scale=1 / 255)  # stored as 0..255
first = [load, _base_.labels]
train_pipeline = [*first, *_base_.train_pipeline[2:]]
test_pipeline = [*first, *_base_.test_pipeline[2:]]
tta_pipeline = [*first, *_base_.tta_pipeline[2:]]

scans = dict(type='SemanticSTFSegmentation', data_root=data_root)
train_dataloader = dict(dataset=dict(ann_file='semanticstf_infos_train.pkl', pipeline=train_pipeline, **scans))
val_dataloader = dict(dataset=dict(ann_file='semanticstf_infos_val.pkl', pipeline=test_pipeline, **scans))
test_dataloader = val_dataloader
