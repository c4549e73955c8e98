_base_ = './onecycle_ptv3_50e.py'

train_cfg = dict(max_epochs=100)
