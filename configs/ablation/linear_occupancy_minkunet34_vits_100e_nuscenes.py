# Table 3: a linear head with the occupancy task.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'

model = dict(projection_head=dict(_delete_=True, type='LinearHead'))
