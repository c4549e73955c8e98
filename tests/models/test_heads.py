from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cleverdistiller.errors import InputError
from cleverdistiller.models.heads import ALSOOccupancyHead, DINOHead, LinearHead, MLPHead
from cleverdistiller.ops.voxelize import voxelize
from cleverdistiller.structures import OccupancyQueries


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_mlp3_is_the_paper_s_head():
    head = MLPHead(96, 384)
    assert parameters(head) == 96 * 2048 + 2048 + 2048**2 + 2048 + 2048 * 384 + 384  # 5.18 M
    assert [type(layer) for layer in head.layers] == [nn.Linear, nn.GELU, nn.Linear, nn.GELU, nn.Linear]
    assert head(torch.randn(5, 96)).shape == (5, 384)


@pytest.mark.parametrize(
    'head',
    [
        LinearHead(8, 5),
        MLPHead(8, 5, 16),
        MLPHead(8, 5, 16, num_layers=2),
        MLPHead(8, 5, 16, use_bn=True),
        DINOHead(8, 5, 16, 4),
    ],
)
def test_every_head_maps_student_to_teacher_width_and_takes_no_pairs(head):
    out = head(torch.randn(50, 8))
    assert out.shape == (50, 5)
    assert (out > 0).any() and (out < 0).any()  # no activation after the last layer
    assert head(torch.zeros(0, 8)).shape == (0, 5)


def test_every_linear_layer_of_an_mlp_starts_truncated_normal():
    layers = [layer for layer in MLPHead(96, 384, 512).layers if isinstance(layer, nn.Linear)]
    for layer in layers:
        assert float(layer.weight.std()) == pytest.approx(0.02, rel=0.05)
        assert abs(layer.weight.mean()) < 1e-3 and not layer.bias.any()


def test_a_head_equals_its_layers_written_out():
    mlp, dino, features = MLPHead(8, 5, 16), DINOHead(8, 5, 16, 4), torch.randn(7, 8)
    x = features
    for layer in (0, 2, 4):
        x = x @ mlp.layers[layer].weight.T + mlp.layers[layer].bias
        x = x if layer == 4 else x * (1 + torch.erf(x / 2**0.5)) / 2
    torch.testing.assert_close(mlp(features), x)
    bottleneck = dino.mlp(features)
    direction = dino.last.parametrizations.weight.original1
    cosines = [[float(b @ d / (b.norm() * d.norm())) for d in direction] for b in bottleneck]
    torch.testing.assert_close(dino(features), torch.tensor(cosines))


def test_variants_have_their_layers():
    assert [type(x) for x in MLPHead(8, 4, 16, num_layers=2).layers] == [nn.Linear, nn.GELU, nn.Linear]
    assert nn.BatchNorm1d in map(type, MLPHead(8, 4, 16, use_bn=True).layers)
    assert parameters(LinearHead(96, 384)) == 97 * 384


def test_dino_s_last_layer_has_unit_rows_and_a_bottleneck():
    head = DINOHead(8, 40, hidden_channels=32, bottleneck_channels=6)
    out = head(torch.randn(100, 8))
    torch.testing.assert_close(head.last.weight.norm(dim=1), torch.ones(40))
    assert torch.linalg.matrix_rank(out) <= 6
    before = head.last.weight.detach().clone()
    optimizer = torch.optim.AdamW([p for p in head.parameters() if p.requires_grad], 0.1)
    (out**3).sum().backward()
    optimizer.step()
    assert not torch.allclose(head.last.weight, before)
    torch.testing.assert_close(head.last.weight.norm(dim=1), torch.ones(40))  # they turn, they do not grow


@pytest.fixture
def scene():
    """Features of voxels, their points and queries with support."""
    points = torch.cat([torch.randn(40, 3) * 2, torch.rand(40, 1)], 1)
    voxels = voxelize(points, torch.zeros(40, dtype=torch.int64), 1, 0.5, True)
    queries = OccupancyQueries(
        torch.randn(9, 3),
        (torch.arange(9) >= 6).float(),
        torch.where((torch.arange(9) >= 3) & (torch.arange(9) < 6), -1.0, 0.4),
        torch.randint(9, (30,)),
        torch.randint(40, (30,)),
    )
    return torch.randn(len(voxels), 8, requires_grad=True), voxels, points, queries


@pytest.mark.parametrize('kind', ['mse', 'l1'])
def test_occupancy_losses_equal_a_loop(scene, kind):
    features, voxels, points, queries = scene
    head = ALSOOccupancyHead(8, 16, weight=0.05, intensity_weight=3.0, intensity_loss=kind)
    found = head.loss(*scene)
    bce, intensity = [], []
    for q, p in zip(queries.support_query, queries.support_point):
        latent = head.latent(features[voxels.point_to_voxel[p]])
        logit, value = head.decoder(torch.cat([latent, queries.position_lidar_m[q] - points[p, :3]]))
        sigmoid = torch.sigmoid(logit)
        bce.append(-torch.log(sigmoid if queries.occupied[q] else 1 - sigmoid))
        if queries.intensity[q] >= 0:
            error = value - queries.intensity[q]
            intensity.append(error**2 if kind == 'mse' else error.abs())
    expected = dict(
        loss_occupancy=0.05 * sum(bce) / len(bce), loss_intensity=0.05 * 3 * sum(intensity) / len(intensity)
    )
    assert 0 < len(intensity) < len(bce)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])
        torch.testing.assert_close(
            *(torch.autograd.grad(x[name], features, retain_graph=True)[0] for x in (found, expected))
        )


def test_no_support_gives_zero_loss_and_finite_gradients(scene):
    features, voxels, points, queries = scene
    none = torch.zeros(0, dtype=torch.int64)
    empty = OccupancyQueries(queries.position_lidar_m, queries.occupied, queries.intensity, none, none)
    head = ALSOOccupancyHead(8)
    losses = head.loss(features, voxels, points, empty)
    sum(losses.values()).backward()
    assert all(loss == 0 for loss in losses.values())
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in [features, *head.parameters()])


@pytest.mark.parametrize('kind', ['mse', 'l1'])
def test_queries_on_the_line_of_sight_alone_have_no_intensity_loss(scene, kind):
    features, voxels, points, queries = scene
    sight = replace(queries, intensity=torch.full((9,), -1.0))
    head = ALSOOccupancyHead(8, intensity_loss=kind)
    losses = head.loss(features, voxels, points, sight)
    assert losses['loss_intensity'] == 0 < losses['loss_occupancy']
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in [features, *head.parameters()])
    assert features.grad.any()


def test_no_activation_before_the_last_layer():
    kinds = [type(layer) for layer in ALSOOccupancyHead(8).decoder]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear, nn.Linear]
    with pytest.raises(InputError, match='mse or l1'):
        ALSOOccupancyHead(8, intensity_loss='huber')


def test_the_bce_is_torch_s(scene):
    head = ALSOOccupancyHead(8, weight=1.0)
    logit, _ = head(*scene)
    expected = F.binary_cross_entropy_with_logits(logit, scene[3].occupied[scene[3].support_query])
    torch.testing.assert_close(head.loss(*scene)['loss_occupancy'], expected)
