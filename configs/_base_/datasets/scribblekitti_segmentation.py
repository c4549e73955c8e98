# ScribbleKITTI beside SemanticKITTI. Index: tools/prepare_segmentation.py scribblekitti
_base_ = './segmentation.py'
data_root = 'data/semantickitti/'

scans = dict(type='ScribbleKittiSegmentation', data_root=data_root)
train_dataloader = dict(dataset=dict(ann_file='scribblekitti_infos_train.pkl', **scans))
val_dataloader = dict(dataset=dict(ann_file='scribblekitti_infos_val.pkl', **scans))
test_dataloader = val_dataloader
val_evaluator = dict(absent='zero')  # the benchmark's own definition
test_evaluator = val_evaluator
