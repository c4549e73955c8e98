# A teacher with registers.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'

model = dict(teacher=dict(name='vit_small_patch14_reg4_dinov2.lvd142m'))
