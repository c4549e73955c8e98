# A linear head with the occupancy task.
_base_ = './cleverdistiller_minkunet14_standin_6e_simulated.py'

model = dict(projection_head=dict(_delete_=True, type='LinearHead'))
