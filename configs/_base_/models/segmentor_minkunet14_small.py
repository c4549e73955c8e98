# What a CPU affords: a narrow MinkUNet-14 on 0.2 m voxels, of the variant whose BatchNorm settles within few steps.
_base_ = './segmentor_minkunet34.py'

model = dict(data_preprocessor=dict(voxel_size_m=0.2), backbone=dict(depth=14, width=16, variant='mmdet3d'))
