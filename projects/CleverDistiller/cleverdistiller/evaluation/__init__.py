from cleverdistiller.evaluation.nuscenes_seg_submission import NuScenesSegSubmission
from cleverdistiller.evaluation.rank import matrix_rank, rankme
from cleverdistiller.evaluation.rankme_metric import RankMeMetric
from cleverdistiller.evaluation.safe_seg_metric import SafeSegMetric
from cleverdistiller.evaluation.semantic_kitti_seg_submission import SemanticKittiSegSubmission

__all__ = [
    'NuScenesSegSubmission',
    'RankMeMetric',
    'SafeSegMetric',
    'SemanticKittiSegSubmission',
    'matrix_rank',
    'rankme',
]
