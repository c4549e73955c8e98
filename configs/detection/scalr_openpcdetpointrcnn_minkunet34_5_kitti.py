# The same from the student of ScaLR's pretraining.
_base_ = './random_openpcdetpointrcnn_minkunet34_5_kitti.py'

model = dict(backbone=dict(student_weights=
    'work_dirs/scalr_minkunet34_vitb_50e_nuscenes/student.safetensors'))
