# HilDA's ablation: the teacher's block before the last, alone.
_base_ = './mlp_minkunet34_vits_100e_nuscenes.py'

model = dict(teacher=dict(block=-2))
