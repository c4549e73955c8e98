# The same from the student of pretrain_minkunet14_simulated.py.
_base_ = './random_pointrcnn_minkunet14_50_kitti_simulated.py'

model = dict(backbone=dict(student_weights='work_dirs/pretrain_minkunet14_simulated/student.safetensors'))
