# The method with Point Transformer V3 as student, 256 channels in each stage of the decoder.
_base_ = './cleverdistiller_minkunet34.py'

model = dict(student=dict(_delete_=True, type='PointTransformerV3Student', decoder_channels=(256, 256, 256, 256)))
