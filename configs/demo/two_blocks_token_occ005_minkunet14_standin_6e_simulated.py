# The occupancy task, weighing 0.05, beside the teacher's last two blocks and its class token.
_base_ = './two_blocks_token_occ001_minkunet14_standin_6e_simulated.py'

model = dict(occupancy_head=dict(weight=0.05))
