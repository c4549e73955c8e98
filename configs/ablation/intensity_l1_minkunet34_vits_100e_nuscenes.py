# ALSO's own loss of the intensity.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'

model = dict(occupancy_head=dict(intensity_loss='l1'))
