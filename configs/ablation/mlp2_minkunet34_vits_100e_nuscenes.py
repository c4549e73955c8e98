# Table 3: a head of two layers, no occupancy task.
_base_ = './mlp_minkunet34_vits_100e_nuscenes.py'

model = dict(projection_head=dict(num_layers=2))
