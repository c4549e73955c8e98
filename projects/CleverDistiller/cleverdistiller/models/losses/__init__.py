from cleverdistiller.models.losses.cosine_feature_loss import CosineFeatureLoss
from cleverdistiller.models.losses.feature_similarity_loss import FeatureSimilarityLoss
from cleverdistiller.models.losses.info_nce_loss import InfoNCELoss
from cleverdistiller.models.losses.l2_feature_loss import L2FeatureLoss
from cleverdistiller.models.losses.mse_feature_loss import MSEFeatureLoss

__all__ = ['CosineFeatureLoss', 'FeatureSimilarityLoss', 'InfoNCELoss', 'L2FeatureLoss', 'MSEFeatureLoss']
