# The occupancy task, weighing 0.01, beside the teacher's last two blocks and its class token.
_base_ = './two_blocks_token_minkunet14_standin_6e_simulated.py'

model = dict(occupancy_head=dict(_delete_=True, type='ALSOOccupancyHead', weight=0.01, intensity_weight=1.0))
