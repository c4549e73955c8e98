# The baseline with Point Transformer V3: linear head, no occupancy.
_base_ = './cleverdistiller_ptv3.py'

model = dict(projection_head=dict(_delete_=True, type='LinearHead'), occupancy_head=None)
