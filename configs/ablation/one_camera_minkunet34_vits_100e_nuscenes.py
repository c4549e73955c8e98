# One random camera a scan, as ScaLR; the student still sees the whole sweep.
_base_ = '../pretrain/cleverdistiller_minkunet34_vits_100e_nuscenes.py'

train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(step, num_cams=1) if step['type'] == 'LoadCameraImages' else step
        for step in _base_.train_dataloader.dataset.pipeline]))
