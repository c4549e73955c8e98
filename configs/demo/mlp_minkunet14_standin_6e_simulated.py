# The method without its occupancy task.
_base_ = './cleverdistiller_minkunet14_standin_6e_simulated.py'

model = dict(occupancy_head=None)
