# Linear probing: the backbone stays as it was distilled, BatchNorm included.
_base_ = './segmentor_ptv3.py'

model = dict(frozen=True)
