# Control of two_blocks_...: both heads on the student's last stage.
_base_ = './two_blocks_minkunet14_standin_6e_simulated.py'

model = dict(auxiliaries=[dict(_base_.model.auxiliaries[0], tap='last')])
