# Table 3: the method without its occupancy task.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'

model = dict(occupancy_head=None)
pipeline = _base_.train_dataloader.dataset.pipeline
train_dataloader = dict(dataset=dict(pipeline=[step for step in pipeline if step['type'] != 'SampleOccupancyQueries']))
