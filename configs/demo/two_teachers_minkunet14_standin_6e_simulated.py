# Two teachers, a head each, of equal weight: the second is the stand-in that began from another seed. No occupancy task.
_base_ = './mlp_minkunet14_standin_6e_simulated.py'

model = dict(
    distillation_loss=dict(weight=0.5),
    auxiliaries=[
        dict(
            type='AnotherTeacher', projection_head=dict(type='MLPHead', num_layers=3, hidden_channels=256),
            distillation_loss=dict(type='L2FeatureLoss', weight=0.5),
            teacher=dict(
                _base_.model.teacher, weights=_base_.demo + '/teacher_seed1/teacher.safetensors'))
    ])
