# The occupancy task on top: beside a hierarchy, HilDA found ALSO's to do harm.
_base_ = './two_blocks_token_occ001_minkunet34_vits_100e_nuscenes.py'

model = dict(occupancy_head=dict(weight=0.05))
