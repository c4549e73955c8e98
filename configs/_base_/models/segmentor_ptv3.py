# Fine-tuning Point Transformer V3, with cross-entropy and Lovasz-softmax, 1:1, as Pointcept trains it.
_base_ = './segmentor_minkunet34_lovasz.py'

model = dict(backbone=dict(_delete_=True, type='PointTransformerV3Student', decoder_channels=(256, 256, 256, 256)))
