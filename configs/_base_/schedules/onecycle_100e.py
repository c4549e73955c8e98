_base_ = './onecycle_50e.py'

train_cfg = dict(max_epochs=100)
