# Files for the SemanticKITTI server: tools/test.py THIS_CONFIG CHECKPOINT, on sequences 11 to 21.
_base_ = './ft_minkunet34_1_semantickitti.py'

unlabelled = [step for step in _base_.test_pipeline if step['type'] != 'LoadPointLabels']
tta_pipeline = [step for step in _base_.tta_pipeline if step['type'] != 'LoadPointLabels']
test_dataloader = dict(dataset=dict(ann_file='semantickitti_infos_test.pkl', pipeline=unlabelled))
test_evaluator = dict(_delete_=True, type='SemanticKittiSegSubmission', out_dir='work_dirs/submission_semantickitti')
