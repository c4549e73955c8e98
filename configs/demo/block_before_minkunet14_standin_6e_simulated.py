# The teacher's block before the last, alone; no occupancy task.
_base_ = './mlp_minkunet14_standin_6e_simulated.py'

model = dict(teacher=dict(block=-2))
