from cleverdistiller.evaluation.kitti_ap_metric import KittiAPMetric
from cleverdistiller.evaluation.kitti_submission import KittiSubmission
from cleverdistiller.evaluation.nuscenes_seg_submission import NuScenesSegSubmission
from cleverdistiller.evaluation.rank import matrix_rank, rankme
from cleverdistiller.evaluation.rankme_metric import RankMeMetric
from cleverdistiller.evaluation.safe_seg_metric import SafeSegMetric
from cleverdistiller.evaluation.semantic_kitti_seg_submission import SemanticKittiSegSubmission
from cleverdistiller.evaluation.waymo_ap_metric import WaymoAPMetric

__all__ = [
    'KittiAPMetric',
    'KittiSubmission',
    'NuScenesSegSubmission',
    'RankMeMetric',
    'SafeSegMetric',
    'SemanticKittiSegSubmission',
    'WaymoAPMetric',
    'matrix_rank',
    'rankme',
]
