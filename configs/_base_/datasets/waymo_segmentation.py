# Waymo. Converted and indexed: tools/prepare_waymo_segmentation.py
_base_ = './segmentation.py'
data_root = 'data/waymo_segmentation/'

scans = dict(type='WaymoSegmentation', data_root=data_root)
train_dataloader = dict(dataset=dict(ann_file='waymo_infos_train.pkl', **scans))
val_dataloader = dict(dataset=dict(ann_file='waymo_infos_val.pkl', **scans))
test_dataloader = val_dataloader
