# Table 3: without Mix3D.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'

model = dict(data_preprocessor=dict(mix3d_prob=0.0))
