# For methods without the occupancy task.
_base_ = './nuscenes_distill.py'

train_pipeline = [step for step in _base_.train_pipeline if step['type'] != 'SampleOccupancyQueries']
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
