# What a CPU affords: a narrow MinkUNet-14 on 0.2 m voxels.
_base_ = './segmentor_minkunet34.py'

model = dict(data_preprocessor=dict(voxel_size_m=0.2), backbone=dict(depth=14, width=16))
