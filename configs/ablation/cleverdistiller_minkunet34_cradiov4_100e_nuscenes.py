# C-RADIOv4, a student of SigLIP2, DINOv3 and SAM3. timm's fixed-grid port of it drifts off 512 x 512 px; this one does
# not. It has no final norm.
_base_ = './cleverdistiller_minkunet34_dinov3s_100e_nuscenes.py'

model = dict(teacher=dict(name='naflexvit_so400m_patch16_radio_v4.c_radio'))
