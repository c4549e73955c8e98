# The teacher's last two blocks on the student's last two stages, a head each; no occupancy task.
_base_ = './mlp_minkunet14_standin_6e_simulated.py'

head = dict(type='MLPHead', num_layers=3, hidden_channels=256)
model = dict(
    distillation_loss=dict(weight=0.5),
    auxiliaries=[
        dict(
            type='BlockMatching', block=-2, tap='stride_2', projection_head=head,
            distillation_loss=dict(type='L2FeatureLoss', weight=0.5))
    ])
