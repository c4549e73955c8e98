# HilDA's two blocks: the last on the last stage, the one before on the stage before, a head each.
_base_ = './mlp_minkunet34_vits_100e_nuscenes.py'

head = dict(type='MLPHead', num_layers=3, hidden_channels=2048)
model = dict(
    distillation_loss=dict(weight=0.5),
    auxiliaries=[
        dict(
            type='BlockMatching', block=-2, tap='stride_2', projection_head=head,
            distillation_loss=dict(type='L2FeatureLoss', weight=0.5))
    ])
