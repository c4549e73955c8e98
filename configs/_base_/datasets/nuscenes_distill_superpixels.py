# For SLidR. Compute them first: tools/superpixels.py
_base_ = './nuscenes_distill_no_queries.py'

load_superpixels = dict(
    type='LoadSuperpixels', cache_dir=_base_.data_root + 'superpixels', num_segments=150, compactness=6.0, sigma=3.0)
train_pipeline = [
    each for step in _base_.train_pipeline
    for each in ([step, load_superpixels] if step['type'] == 'LoadCameraImages' else [step])
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
