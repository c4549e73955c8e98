# Fine-tuning with a tenth of the frames of the demo's nuScenes set, on a CPU. Says nothing about real roads.
_base_ = './lp_minkunet14_100_nuscenes_simulated.py'

# 45 steps in all: too few for Mix3D, and the fresh layer must take far larger ones than the network: its features are
# taught already, and from random weights it costs little.
model = dict(frozen=False, data_preprocessor=dict(mix3d_prob=0.0))
train_dataloader = dict(
    dataset=dict(frame_list='{{$DEMO:work_dirs/demo}}/data/splits/nuscenes/uniform0_10.json'))
train_cfg = dict(max_epochs=15, val_interval=15)
optim_wrapper = dict(
    optimizer=dict(lr=0.002), paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=50.0)}))
