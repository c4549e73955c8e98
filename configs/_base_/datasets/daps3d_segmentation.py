# DAPS-1 of DAPS-3D. Index: tools/prepare_segmentation.py daps3d
# Its intensity's scale is documented nowhere and taken as it is: look at yours before you trust intensity_scale=1.
_base_ = './segmentation.py'
data_root = 'data/daps3d/daps-1/'

scans = dict(type='DAPS3DSegmentation', data_root=data_root)
train_dataloader = dict(dataset=dict(ann_file='daps3d_infos_train.pkl', **scans))
val_dataloader = dict(dataset=dict(ann_file='daps3d_infos_val.pkl', **scans))
test_dataloader = val_dataloader
