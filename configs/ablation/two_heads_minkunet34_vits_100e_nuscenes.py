# Control of two_blocks_...: both heads on the last stage.
_base_ = './two_blocks_minkunet34_vits_100e_nuscenes.py'

model = dict(auxiliaries=[dict(_base_.model.auxiliaries[0], tap='last')])
