# The teacher's last two blocks and its class token; no occupancy task.
_base_ = './two_blocks_minkunet14_standin_6e_simulated.py'

model = dict(auxiliaries=[
    *_base_.model.auxiliaries,
    dict(
        type='ClassTokenMatching', weight=0.1, projection_head=dict(type='MLPHead', num_layers=2, hidden_channels=256))
])
