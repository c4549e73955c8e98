# The mean squared difference, 2 (1 - cos) / D: the occupancy task then weighs 192 times as much as beside 1 - cos.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'

model = dict(distillation_loss=dict(type='MSEFeatureLoss'))
