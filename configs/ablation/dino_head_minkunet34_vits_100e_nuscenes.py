# DINOv2's whole head, whose output has at most 256 dimensions.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'

model = dict(projection_head=dict(_delete_=True, type='DINOHead'))
