# The occupancy task on top: beside a hierarchy, HilDA found ALSO's to do harm.
_base_ = './two_blocks_token_minkunet34_vits_100e_nuscenes.py'

queries = dict(type='SampleOccupancyQueries', num_queries=2048, support='radius')
pipeline = _base_.train_dataloader.dataset.pipeline  # the queries come after the pairs, before the augmentation
model = dict(occupancy_head=dict(_delete_=True, type='ALSOOccupancyHead', weight=0.01, intensity_weight=1.0))
train_dataloader = dict(dataset=dict(pipeline=[*pipeline[:3], queries, *pipeline[3:]]))
