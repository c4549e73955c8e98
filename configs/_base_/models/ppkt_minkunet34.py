# PPKT under the same recipe. For the optimisers it was published with see slidr_minkunet34.py.
_base_ = './cleverdistiller_minkunet34.py'

model = dict(
    _delete_=True, type='PPKT', num_pairs=4096, embed_channels=64,
    data_preprocessor=_base_.model.data_preprocessor, teacher=_base_.model.teacher, student=_base_.model.student,
    contrastive_loss=dict(type='InfoNCELoss', temperature=0.07))
