_base_ = './transfer_50e.py'

train_cfg = dict(max_epochs=100)
