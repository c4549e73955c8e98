# Another weight of the occupancy task; the method has 0.05, mlp_... has none.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'

model = dict(occupancy_head=dict(weight=0.2))
