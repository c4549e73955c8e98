# Fine-tuning: a fresh linear layer on an exported student, cross-entropy. The leaf gives num_classes, the user
# model.student_weights (an exported student; None is the random baseline).
model = dict(
    type='StudentSegmentor',
    data_preprocessor=dict(type='SegmentationDataPreprocessor', voxel_size_m=0.05, mix3d_prob=0.8),
    backbone=dict(type='MinkUNetStudent', depth=34, variant='pointcept'),
    decode_head=dict(type='LinearHead'),
    losses=dict(ce=dict(type='mmdet.CrossEntropyLoss')),
    student_weights='required')
