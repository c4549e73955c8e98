# HilDA's two blocks and its class token.
_base_ = './two_blocks_minkunet34_vits_100e_nuscenes.py'

model = dict(auxiliaries=[
    *_base_.model.auxiliaries, dict(
        type='ClassTokenMatching', weight=0.1, projection_head=dict(type='MLPHead', num_layers=2, hidden_channels=256))
])
