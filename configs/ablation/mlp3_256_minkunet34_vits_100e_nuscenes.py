# Table 3: a head of three layers, 256 wide, no occupancy task.
_base_ = './mlp_minkunet34_vits_100e_nuscenes.py'

model = dict(projection_head=dict(hidden_channels=256))
