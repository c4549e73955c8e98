# A few minutes on a CPU: full precision, few epochs, a larger step.
_base_ = './onecycle_50e.py'

optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(_base_.optim_wrapper.optimizer, lr=0.01))
train_cfg = dict(max_epochs=10, val_interval=10)
param_scheduler = dict(pct_start=0.2)
