import pytest
import torch
import torch.nn.functional as F

from cleverdistiller.errors import InputError
from cleverdistiller.models.losses import CosineFeatureLoss, L2FeatureLoss, MSEFeatureLoss, feature_similarity_loss

VIEWS = 4


def slow_distance(kind: str, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a, b = a / a.norm(), b / b.norm()
    return dict(l2=(a - b).norm(), cosine=1 - a @ b, mse=((a - b) ** 2).sum() / len(a))[kind]


LOSSES = dict(l2=L2FeatureLoss, cosine=CosineFeatureLoss, mse=MSEFeatureLoss)


@pytest.fixture
def pairs():
    """Projected and target features and their views; view 2 has no pair."""
    view = torch.tensor([0, 0, 0, 1, 3, 3, 1, 0])
    return torch.randn(8, 6, requires_grad=True), torch.randn(8, 6), view


@pytest.mark.parametrize('kind', LOSSES)
@pytest.mark.parametrize('average', ['view', 'pooled'])
@pytest.mark.parametrize('pairs_at_a_time', [3, 8192])
def test_value_and_gradient_equal_a_loop(kind, average, pairs_at_a_time, pairs, monkeypatch):
    monkeypatch.setattr(feature_similarity_loss, 'PAIRS_AT_A_TIME', pairs_at_a_time)
    projected, target, view = pairs
    distance = [slow_distance(kind, a, b) for a, b in zip(projected, target)]
    if average == 'pooled':
        expected = sum(distance) / len(distance)
    else:
        per_view = [[d for d, v in zip(distance, view) if v == wanted] for wanted in range(VIEWS)]
        per_view = [sum(d) / len(d) for d in per_view if d]
        expected = sum(per_view) / len(per_view)
    found = LOSSES[kind](average=average, weight=2.0)(projected, target, view, VIEWS)
    torch.testing.assert_close(found, 2 * expected)
    torch.testing.assert_close(
        *(torch.autograd.grad(x, projected, retain_graph=True)[0] for x in (found, 2 * expected))
    )


@pytest.mark.parametrize('kind', LOSSES)
def test_equal_features_and_no_pairs_have_finite_gradients(kind, pairs):
    projected, _, view = pairs
    loss = LOSSES[kind]()(projected, projected.detach(), view, VIEWS)
    (gradient,) = torch.autograd.grad(loss, projected)
    assert abs(float(loss)) < 1e-6 and torch.isfinite(gradient).all()
    none = torch.zeros(0, dtype=torch.int64)
    for average in ('view', 'pooled'):
        weight = torch.randn(6, 6, requires_grad=True)
        loss = LOSSES[kind](average)(torch.zeros(0, 6) @ weight, torch.zeros(0, 6), none, VIEWS)
        loss.backward()
        assert loss == 0 and torch.equal(weight.grad, torch.zeros(6, 6))


@pytest.mark.parametrize('kind', LOSSES)
def test_a_vector_without_length_has_a_finite_gradient(kind, pairs):
    _, target, view = pairs
    silent = torch.zeros(8, 6, requires_grad=True)
    LOSSES[kind]()(silent, target, view, VIEWS).backward()
    assert torch.isfinite(silent.grad).all()


@pytest.mark.parametrize('kind', LOSSES)
def test_cameras_without_pairs_do_not_count(kind, pairs):
    projected, target, view = pairs
    loss = LOSSES[kind]()
    assert torch.equal(loss(projected, target, view, VIEWS), loss(projected, target, view, VIEWS + 7))


def test_the_three_are_related_as_documented(pairs):
    projected, target, _ = pairs
    l2, cosine, mse = (LOSSES[kind].distance(projected, target) for kind in ('l2', 'cosine', 'mse'))
    torch.testing.assert_close(l2**2 / 2, cosine)
    torch.testing.assert_close(mse, 2 * cosine / 6)


def test_half_precision_is_computed_in_float32(pairs):
    projected, target, view = pairs
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = L2FeatureLoss()(projected.bfloat16(), target.bfloat16(), view, VIEWS)
    assert loss.dtype == torch.float32
    expected = L2FeatureLoss()(projected.bfloat16().float(), target.bfloat16().float(), view, VIEWS)
    assert torch.equal(loss, expected)


def test_an_unknown_average_is_refused():
    with pytest.raises(InputError, match='view or pooled'):
        L2FeatureLoss(average='camera')


def test_unit_vectors_are_what_is_compared(pairs):
    projected, target, view = pairs
    scaled = L2FeatureLoss()(projected * 7, target * 0.1, view, VIEWS)
    unit = L2FeatureLoss()(F.normalize(projected), F.normalize(target), view, VIEWS)
    torch.testing.assert_close(scaled, unit)
