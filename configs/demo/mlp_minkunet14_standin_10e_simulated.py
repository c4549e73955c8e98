# The method without its occupancy task.
_base_ = './cleverdistiller_minkunet14_standin_10e_simulated.py'

model = dict(occupancy_head=None)
