# The teacher's features after its final LayerNorm.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'

model = dict(teacher=dict(features='post_norm'))
