_base_ = './segmentor_minkunet14_small.py'

model = dict(frozen=True)
