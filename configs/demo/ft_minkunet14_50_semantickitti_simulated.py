# Fine-tuning with half of the frames on a simulated set, on a CPU: see docs/segmentation.md. Says nothing about real roads.
_base_ = [
    '../_base_/segmentation_runtime.py', '../_base_/datasets/semantickitti_segmentation.py',
    '../_base_/models/segmentor_minkunet14_small.py', '../_base_/schedules/transfer_cpu.py'
]
simulated = dict(data_root='data/sim_semantickitti/')

model = dict(num_classes=19)
train_dataloader = dict(
    batch_size=2, num_workers=2,
    dataset=dict(frame_list='configs/splits/semantickitti_simulated/uniform0_50.json', **simulated))
val_dataloader = dict(num_workers=1, dataset=simulated)
test_dataloader = val_dataloader
default_hooks = dict(logger=dict(interval=5))
