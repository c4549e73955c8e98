# The paper's method: three-layer MLP head, Eq. 1, occupancy weight 0.05. Teacher size: the leaf config.
model = dict(
    type='CleverDistiller',
    data_preprocessor=dict(type='DistillationDataPreprocessor', voxel_size_m=0.05, mix3d_prob=0.8),
    teacher=dict(
        type='TimmViTTeacher', name='vit_small_patch14_dinov2.lvd142m', weights='hub',
        image_size_hw=(224, 448), features='pre_norm'),
    student=dict(type='MinkUNetStudent', depth=34, variant='pointcept'),
    projection_head=dict(type='MLPHead', num_layers=3, hidden_channels=2048),
    distillation_loss=dict(type='L2FeatureLoss'),
    occupancy_head=dict(type='ALSOOccupancyHead', weight=0.05, intensity_weight=1.0))
