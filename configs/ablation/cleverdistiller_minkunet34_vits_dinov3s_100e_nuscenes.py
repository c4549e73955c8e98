# Two teachers, a head each, of equal weight.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'
head = dict(type='MLPHead', num_layers=3, hidden_channels=2048)

model = dict(
    distillation_loss=dict(weight=0.5),
    auxiliaries=[
        dict(
            type='AnotherTeacher', name='dinov3', projection_head=head,
            distillation_loss=dict(type='L2FeatureLoss', weight=0.5),
            teacher=dict(
                type='TimmViTTeacher', name='vit_small_patch16_dinov3.lvd1689m', weights='hub',
                image_size_hw=(256, 512)))
    ])
