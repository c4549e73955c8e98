# Files for the nuScenes-lidarseg server: tools/test.py THIS_CONFIG CHECKPOINT, on the sweeps of v1.0-test.
_base_ = './ft_minkunet34_100_nuscenes.py'

unlabelled = [step for step in _base_.test_pipeline if step['type'] != 'LoadPointLabels']
tta_pipeline = [step for step in _base_.tta_pipeline if step['type'] != 'LoadPointLabels']
test_dataloader = dict(dataset=dict(ann_file='nuscenes_infos_test.pkl', pipeline=unlabelled))
test_evaluator = dict(
    _delete_=True, type='NuScenesSegSubmission', out_dir='work_dirs/submission_nuscenes', eval_set='test')
