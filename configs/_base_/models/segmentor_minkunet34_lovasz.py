# Cross-entropy and Lovasz-softmax, 1:1.
_base_ = './segmentor_minkunet34.py'

model = dict(losses=dict(lovasz=dict(type='LovaszLoss', reduction='none')))
