# The baseline under the same recipe: linear head, no occupancy.
_base_ = './cleverdistiller_minkunet34.py'

model = dict(projection_head=dict(_delete_=True, type='LinearHead'), occupancy_head=None)
