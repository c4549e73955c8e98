# With the next keyframe, for TemporalConsistency. The index must know scenes and poses: tools/prepare_nuscenes.py
# writes them, mmdet3d's own converter writes no scenes.
_base_ = './nuscenes_distill.py'

train_pipeline = [
    # In raw coordinates, and after all that may drop points.
    *_base_.train_pipeline[:-2],
    dict(type='LoadNextSweep', load_dim=5, intensity_scale=1 / 255, max_distance_m=0.1),
    *_base_.train_pipeline[-2:],  # AugmentScan, PackDistillationInputs
]
train_dataloader = dict(dataset=dict(with_next_frame=True, pipeline=train_pipeline))
