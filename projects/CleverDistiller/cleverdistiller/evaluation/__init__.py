from cleverdistiller.evaluation.rank import matrix_rank, rankme
from cleverdistiller.evaluation.rankme_metric import RankMeMetric

__all__ = ['RankMeMetric', 'matrix_rank', 'rankme']
