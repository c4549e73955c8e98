# Table A6, "temporal": temporal consistency alone, on the MLP head as the row with both. The paper's row without any
# auxiliary is the linear head's (ScaLR); for one change at a time compare with the MLP head without occupancy.
_base_ = './temporal_occupancy_minkunet34_vits_100e_nuscenes.py'

train_pipeline = [step for step in _base_.train_pipeline if step['type'] != 'SampleOccupancyQueries']
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
model = dict(occupancy_head=None)
