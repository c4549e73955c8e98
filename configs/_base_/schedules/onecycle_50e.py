# AdamW and torch's one-cycle policy (beta1 cycles 0.95-0.85-0.95), 50 epochs.
optim_wrapper = dict(
    type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic',
    optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.005))
param_scheduler = dict(type='OneCycle', by_epoch=False, pct_start=0.04, div_factor=10, final_div_factor=100)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
