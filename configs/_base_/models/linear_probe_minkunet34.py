# Linear probing: the backbone stays as it was distilled, BatchNorm included.
_base_ = './segmentor_minkunet34.py'

model = dict(frozen=True)
