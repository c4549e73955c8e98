"""mmdet3d's point modules run on a CPU once patched; CUDA tensors still go to mmcv."""

import sys

import mmcv.ops
import mmdet3d.models  # noqa: F401, every module that may hold an operator
import pytest
import torch
from mmcv.ops.roipoint_pool3d import RoIPointPool3dFunction
from mmdet3d.models.layers.pointnet_modules import PointFPModule, PointSAModule
from mmdet3d.models.roi_heads.roi_extractors import Single3DRoIPointExtractor
from mmdet3d.structures import LiDARInstance3DBoxes
from shapely.affinity import rotate
from shapely.geometry import box as rectangle

from cleverdistiller.compat import make_point_ops_run_on_cpu
from cleverdistiller.compat.mmcv import _HELD_BY, _TWINS
from cleverdistiller.errors import InputError
from cleverdistiller.ops import point_box_ops, point_ops

pytestmark = pytest.mark.needs_mmcv_ops


@pytest.fixture(scope='module', autouse=True)
def patched():
    make_point_ops_run_on_cpu()


@pytest.fixture
def points():
    torch.manual_seed(0)
    return torch.rand(2, 64, 3) * 2


@pytest.fixture
def boxes():
    torch.manual_seed(1)
    return torch.cat([torch.rand(2, 5, 3) * 2 - 0.5, 0.5 + torch.rand(2, 5, 4)], 2)


def test_no_loaded_module_still_holds_a_stock_operator():
    stock = {id(getattr(sys.modules[module], name).stock) for module, names in _HELD_BY.items() for name in names}
    holders = [
        f'{name}.{attribute}'
        for name, module in sys.modules.items()
        if name.split('.')[0] in ('mmcv', 'mmdet', 'mmdet3d')
        for attribute, value in vars(module).items()
        if id(value) in stock
    ]
    assert holders == []


def test_patching_twice_is_harmless(points):
    before = {name: getattr(mmcv.ops, name) for name in _TWINS}
    pool = RoIPointPool3dFunction.forward
    make_point_ops_run_on_cpu()
    assert all(getattr(mmcv.ops, name) is function for name, function in before.items())
    assert RoIPointPool3dFunction.forward is pool
    assert not hasattr(pool.stock, 'stock')


class LooksLikeCuda(torch.Tensor):
    is_cuda = True


@pytest.mark.parametrize(
    ('module', 'name'), [(module, name) for module, names in _HELD_BY.items() for name in names], ids=str
)
def test_a_cuda_tensor_goes_to_mmcvs_function(module, name, monkeypatch):
    operator = getattr(sys.modules[module], name)
    assert operator.stock.__module__.startswith(('mmcv.ops', 'torch.autograd'))
    monkeypatch.setattr(operator, 'stock', lambda *args, **kwargs: ('mmcv', args, kwargs))
    tensor = torch.zeros(1).as_subclass(LooksLikeCuda)
    assert operator(0.5, tensor, option=3) == ('mmcv', (0.5, tensor), {'option': 3})


def test_roi_pooling_of_cuda_tensors_goes_to_mmcv(points, boxes, monkeypatch):
    monkeypatch.setattr(RoIPointPool3dFunction.forward, 'stock', lambda ctx, cloud, *rest: (cloud + 1, rest[0]))
    pool = mmcv.ops.RoIPointPool3d(4)
    assert torch.equal(pool(points.as_subclass(LooksLikeCuda), points, boxes)[0], points + 1)
    assert torch.equal(pool(points, points, boxes)[0], point_box_ops.roi_point_pool3d(points, points, boxes, 4)[0])


def test_set_abstraction_trains_on_a_cpu(points):
    module = PointSAModule(num_point=16, radius=0.5, num_sample=8, mlp_channels=[4, 6], norm_cfg=dict(type='BN2d'))
    features = torch.randn(2, 4, 64, requires_grad=True)
    centres, pooled, index = module(points, features)
    assert torch.equal(index, point_ops.furthest_point_sample(points, 16))
    for b in range(2):
        assert torch.equal(centres[b], points[b][index[b].long()])
    near = point_ops.ball_query(0, 0.5, 8, points, centres)
    offsets = point_ops.grouping_operation(points.mT, near) - centres.mT[..., None]
    grouped = torch.cat([offsets, point_ops.grouping_operation(features, near)], 1)
    torch.testing.assert_close(pooled, module.mlps[0](grouped).amax(3))
    pooled.square().sum().backward()
    assert features.grad.abs().sum() > 0


def test_feature_propagation_trains_on_a_cpu(points):
    module = PointFPModule(mlp_channels=[4, 6], norm_cfg=dict(type='BN2d'))
    source, features = points[:, ::4].contiguous(), torch.randn(2, 4, 16, requires_grad=True)
    result = module(points, source, None, features)
    distance, near = point_ops.three_nn(points, source)
    weight = 1 / (distance + 1e-8)
    mixed = point_ops.three_interpolate(features, near, weight / weight.sum(2, keepdim=True))
    torch.testing.assert_close(result, module.mlps(mixed[..., None])[..., 0])
    result.square().sum().backward()
    assert features.grad.abs().sum() > 0


def test_pointrcnns_roi_extractor_runs_on_a_cpu(points, boxes):
    extractor = Single3DRoIPointExtractor(dict(type='RoIPointPool3d', num_sampled_points=8))
    features = torch.randn(2, 64, 3, requires_grad=True)
    rois = torch.cat([torch.arange(2.0).repeat_interleave(5)[:, None], boxes.flatten(0, 1)], 1)
    pooled = extractor(features, points, 2, rois)
    expected, empty = point_box_ops.roi_point_pool3d(points, features, boxes, 8)
    assert pooled.shape == (10, 8, 6) and 0 < empty.sum() < 10
    assert torch.equal(pooled[..., 3:], expected.flatten(0, 1)[..., 3:])  # xyz is turned into the RoI's frame


def test_roi_pooling_has_no_backward_as_in_mmcv(points, boxes):
    pooled, _ = mmcv.ops.RoIPointPool3d(4)(points, points.clone().requires_grad_(), boxes)
    with pytest.raises((NotImplementedError, TypeError)):  # mmcv 2.1's refusal takes one argument too few
        pooled.sum().backward()


def test_points_in_lidar_boxes_equal_mmcvs_cpu_kernel(points, boxes):
    expected = mmcv.ops.points_in_boxes_cpu(points[:1], boxes[:1])[0]
    lidar = LiDARInstance3DBoxes(boxes[0])
    assert torch.equal(lidar.points_in_boxes_all(points[0]), expected)
    part = torch.where(expected.any(1), expected.argmax(1), -1).int()
    assert torch.equal(lidar.points_in_boxes_part(points[0]), part)
    assert (part >= 0).any() and (part < 0).any()


def footprint(box, turned):
    x, y, _, length, width, _, yaw = box.tolist()
    flat = rectangle(x - length / 2, y - width / 2, x + length / 2, y + width / 2)
    return rotate(flat, yaw, use_radians=True) if turned else flat


@pytest.mark.parametrize(('name', 'turned'), [('nms3d', True), ('nms3d_normal', False)])
def test_nms_equals_a_loop_over_polygons(name, turned, boxes):
    boxes, scores = boxes.flatten(0, 1), torch.rand(10)
    kept = []
    for i in scores.argsort(descending=True).tolist():
        a = footprint(boxes[i], turned)
        others = [footprint(boxes[j], turned) for j in kept]
        if all(a.intersection(b).area / a.union(b).area <= 0.2 for b in others):
            kept.append(i)
    assert 2 < len(kept) < 10
    assert getattr(mmcv.ops, name)(boxes, scores, 0.2).tolist() == kept


def test_stacked_clouds_are_refused_on_a_cpu(points):
    counts = torch.tensor([64, 64]).int()
    flat = points.flatten(0, 1)
    with pytest.raises(InputError, match='stacked'):
        mmcv.ops.ball_query(0, 0.5, 4, flat, flat, counts, counts)
    with pytest.raises(InputError, match='stacked'):
        mmcv.ops.grouping_operation(flat, torch.zeros(128, 4).int(), counts, counts)
