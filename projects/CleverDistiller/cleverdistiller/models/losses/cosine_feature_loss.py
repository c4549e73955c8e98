from mmdet3d.registry import MODELS

from cleverdistiller.models.losses.feature_similarity_loss import FeatureSimilarityLoss
from cleverdistiller.models.losses.functional import cosine_distance


@MODELS.register_module()
class CosineFeatureLoss(FeatureSimilarityLoss):
    """One minus the cosine, |a - b|^2 / 2 of unit vectors.

    See :class:`FeatureSimilarityLoss` for the arguments.
    """

    distance = staticmethod(cosine_distance)
