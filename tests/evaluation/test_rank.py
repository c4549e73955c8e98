import math

import pytest
import torch

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation import RankMeMetric, matrix_rank, rankme


def test_rankme_equals_a_hand_calculation():
    # Singular values 3 and 1: shares 0.75 and 0.25.
    features = torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, -1.0]])
    shares = (0.75 + 1e-7, 0.25 + 1e-7)
    assert rankme(features) == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)), rel=1e-9)
    assert rankme(features) == pytest.approx(1.7547653506, rel=1e-5)


def test_rankme_of_three_singular_values():
    shares = [share + 1e-7 for share in (0.5, 0.3, 0.2)]
    expected = math.exp(-sum(p * math.log(p) for p in shares))
    assert rankme(torch.diag(torch.tensor([5.0, -3.0, 2.0]))) == pytest.approx(expected, rel=1e-6)


def test_its_ends_are_one_and_the_width():
    assert rankme(torch.eye(5) * 7) == pytest.approx(5, rel=1e-4)
    assert rankme(torch.ones(50, 5)) == pytest.approx(1, rel=1e-4)  # not centred: a constant has rank one
    assert math.isfinite(rankme(torch.zeros(4, 3)))


def test_matrix_rank_counts_independent_columns():
    basis = torch.randn(100, 3)
    assert matrix_rank(basis @ torch.randn(3, 8)) == 3


def test_the_metric_draws_fixed_points_of_each_frame():
    frames = [torch.randn(400, 6), torch.randn(90, 6)]

    def measure():
        metric = RankMeMetric(points_per_frame=100)
        metric.process({}, [dict(point_features=frame) for frame in frames])
        return metric.evaluate(size=2)

    numbers = measure()
    assert numbers == measure() and numbers['rank/num_points'] == 190
    assert 1 < numbers['rank/rankme'] <= 6 and numbers['rank/matrix_rank'] == 6


def test_centring_and_normalising_are_reported_apart():
    metric = RankMeMetric(points_per_frame=1000)
    features = torch.randn(1000, 4) + torch.tensor([100.0, 0, 0, 0])
    metric.process({}, [dict(point_features=features)])
    numbers = metric.evaluate(size=1)
    assert numbers['rank/rankme'] < 1.5 < 3.9 < numbers['rank/rankme_centred']
    expected = rankme(features / features.norm(dim=1, keepdim=True))
    assert numbers['rank/rankme_normalised'] == pytest.approx(expected)


def test_features_that_diverged_are_told():
    metric = RankMeMetric()
    metric.process({}, [dict(point_features=torch.tensor([[1.0, float('nan')]]))])
    with pytest.raises(InputError, match='NaN'):
        metric.evaluate(size=1)
