# The same with the class weights of Pointcept's semantic_kitti/semseg-spunet-v1m1-0-base.py (e3f582e), car to
# traffic-sign. Pointcept divides the loss by the sum of its points' weights; here it is divided by their number, so it
# is larger by their mean weight, which AdamW levels out.
_base_ = './ft_minkunet34_1_semantickitti.py'

class_weight = [
    3.1557, 8.7029, 7.8281, 6.1354, 6.3161, 7.9937, 8.9704, 10.1922, 1.6155, 4.2187, 1.9385, 5.5455, 2.0198, 2.6261,
    1.3212, 5.1102, 2.5492, 5.8585, 7.3929]
model = dict(losses=dict(ce=dict(class_weight=class_weight)))
