from mmdet3d.registry import MODELS

from cleverdistiller.models.losses.feature_similarity_loss import FeatureSimilarityLoss
from cleverdistiller.models.losses.functional import l2_distance


@MODELS.register_module()
class L2FeatureLoss(FeatureSimilarityLoss):
    """Un-squared L2 distance of unit vectors, mean |a - b| (Eq. 1 of the paper; ScaLR's loss).

    See :class:`FeatureSimilarityLoss` for the arguments.
    """

    distance = staticmethod(l2_distance)
