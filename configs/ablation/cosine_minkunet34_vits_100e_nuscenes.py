# 1 - cos for Eq. 1's un-squared distance.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'

model = dict(distillation_loss=dict(type='CosineFeatureLoss'))
