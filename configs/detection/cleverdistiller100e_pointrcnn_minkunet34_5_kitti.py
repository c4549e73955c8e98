# The same from the student of CleverDistiller's pretraining of 100 epochs.
_base_ = './random_pointrcnn_minkunet34_5_kitti.py'

model = dict(backbone=dict(student_weights=
    'work_dirs/cleverdistiller_minkunet34_vitb_100e_nuscenes/student.safetensors'))
