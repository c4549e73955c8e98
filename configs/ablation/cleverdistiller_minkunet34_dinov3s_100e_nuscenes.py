# DINOv3: patches of 16 px, so that images of 256 x 512 give the same 16 x 32 of them.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'
size_hw = (256, 512)

model = dict(teacher=dict(name='vit_small_patch16_dinov3.lvd1689m', image_size_hw=size_hw))
train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(step, size_hw=size_hw) if step['type'] == 'LoadCameraImages' else step
        for step in _base_.train_dataloader.dataset.pipeline]))
