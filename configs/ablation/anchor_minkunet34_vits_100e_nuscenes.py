# Each query is explained by its own surface point alone: its bearing gives the answer away.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'

train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(step, support='anchor') if step['type'] == 'SampleOccupancyQueries' else step
        for step in _base_.train_dataloader.dataset.pipeline]))
