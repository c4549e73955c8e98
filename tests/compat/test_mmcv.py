"""mmdet3d's point modules run on a CPU once patched; CUDA tensors still go to mmcv."""

import math
import sys
from pathlib import Path

import mmcv.ops
import mmdet3d
import mmdet3d.models
import numpy as np
import pytest
import torch
from mmcv.ops.roipoint_pool3d import RoIPointPool3dFunction
from mmdet3d.models.layers.pointnet_modules import PointFPModule, PointSAModule
from mmdet3d.models.layers.pointnet_modules.stack_point_sa_module import StackedSAModuleMSG
from mmdet3d.models.roi_heads.roi_extractors import Single3DRoIPointExtractor
from mmdet3d.registry import MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmdet3d.testing import create_detector_inputs
from mmengine.config import Config

from cleverdistiller.compat import make_point_ops_run_on_cpu
from cleverdistiller.compat.mmcv import _HELD_BY, _TWINS
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


def small_votenet() -> torch.nn.Module:
    """mmdet3d's own, with few points and channels."""
    cfg = Config.fromfile(Path(mmdet3d.__path__[0]) / '.mim/configs/votenet/votenet_8xb16_sunrgbd-3d.py').model
    cfg.backbone.update(
        num_points=(64, 32, 16, 8), num_samples=(8, 8, 4, 4), sa_channels=[[8, 16]] * 4, fp_channels=[[16, 16]] * 2
    )
    head = cfg.bbox_head
    head.vote_module_cfg.update(in_channels=16, conv_channels=[16])
    head.vote_aggregation_cfg.update(num_point=8, num_sample=4, mlp_channels=[16, 16])
    head.pred_layer_cfg.update(in_channels=16, shared_conv_channels=[16])
    return MODELS.build(cfg)


def test_votenet_of_mmdet3d_trains_and_predicts_on_a_cpu():
    detector = small_votenet()
    batch = detector.data_preprocessor(create_detector_inputs(num_points=200, num_gt_instance=3), True)
    loss, logged = detector.parse_losses(detector(**batch, mode='loss'))
    assert {'vote_loss', 'objectness_loss', 'center_loss'} <= set(logged) and loss.isfinite()
    loss.backward()
    for name, parameter in detector.backbone.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name
    detector.eval()
    with torch.no_grad():
        (found,) = detector(**batch, mode='predict')
    assert found.pred_instances_3d.bboxes_3d.tensor.shape[1] == 7


def test_points_in_lidar_boxes_equal_mmcvs_cpu_kernel(points, boxes):
    expected = mmcv.ops.points_in_boxes_cpu(points[:1], boxes[:1])[0]
    lidar = LiDARInstance3DBoxes(boxes[0])
    assert torch.equal(lidar.points_in_boxes_all(points[0]), expected)
    part = torch.where(expected.any(1), expected.argmax(1), -1).int()
    assert torch.equal(lidar.points_in_boxes_part(points[0]), part)
    assert (part >= 0).any() and (part < 0).any()


@pytest.mark.parametrize(('name', 'kept'), [('nms3d', 176), ('nms3d_normal', 148)])
def test_nms_keeps_as_many_of_555_boxes_as_mmcvs_kernel(name, kept):
    """The numbers of mmcv's test_nms3d and test_nms3d_normal, which its kernels gave on a GPU."""
    draws = np.random.RandomState(42)
    boxes, scores = (torch.from_numpy(draws.rand(*shape).astype(np.float32)) for shape in ((555, 7), (555,)))
    assert len(getattr(mmcv.ops, name)(boxes, scores, iou_threshold=0.3)) == kept


def test_overlaps_equal_those_of_mmcvs_kernel():
    """The numbers of mmcv's test_boxes_overlap_bev and test_boxes_iou3d."""
    ones, turned = torch.ones(3, 7), torch.tensor([0, math.pi / 2, math.pi / 4])
    ones[:, 3:6], ones[:, 6] = 2, turned
    boxes = torch.tensor([[1, 1, 1, 2, 2, 2, 0], [2, 2, 2, 2, 2, 2, 0], [3, 3, 3, 3, 2, 2, 0.0]])
    octagon = 8 * (math.sqrt(2) - 1)
    expected = torch.tensor([[4, 4, octagon], [1, 1, 1], [0, 0, 0]])
    torch.testing.assert_close(mmcv.ops.boxes_overlap_bev(boxes, ones), expected, rtol=0, atol=1e-4)
    expected = torch.tensor([[1, 1, 1 / math.sqrt(2)], [1 / 15, 1 / 15, 1 / 15], [0, 0, 0]])
    torch.testing.assert_close(mmcv.ops.boxes_iou3d(boxes, ones), expected, rtol=0, atol=1e-4)


def test_grouping_by_neighbours_trains_on_a_cpu(points):
    features = torch.randn(2, 4, 64, requires_grad=True)
    grouped = mmcv.ops.QueryAndGroup(None, 5)(points, points, features)
    near = point_ops.knn(5, points).mT
    torch.testing.assert_close(grouped[:, 3:], point_ops.grouping_operation(features, near))
    grouped.square().sum().backward()
    assert features.grad.abs().sum() > 0


def test_set_abstraction_of_stacked_clouds_trains_on_a_cpu(points):
    """PV-RCNN's: the second of two clouds has the features that it has alone, and those that its points give."""
    module = StackedSAModuleMSG(4, [1.0, 0.01], [4, 4], [[6], [6]], norm_cfg=dict(type='BN2d')).eval()
    flat, counts, centre_counts = points.flatten(0, 1)[:100], torch.tensor([64, 36]), torch.tensor([7, 5])
    centres = torch.cat([flat[:7], flat[64:68] + 0.3, torch.full((1, 3), 50.0)])  # the last sees nothing
    features = torch.randn(100, 4, requires_grad=True)
    _, pooled = module(flat, counts.int(), centres, centre_counts.int(), features)
    assert pooled.shape == (12, 12)
    _, alone = module(flat[64:], counts[1:].int(), centres[7:], centre_counts[1:].int(), features[64:])
    torch.testing.assert_close(pooled[7:], alone)
    near = (flat[64:] - centres[7]).norm(dim=1) < 1
    assert near.sum() > 4
    first = near.nonzero()[:4, 0]
    by_hand = torch.cat([flat[64:][first] - centres[7], features[64:][first]], 1).T[None, :, None]  # (1, 7, 1, 4)
    torch.testing.assert_close(pooled[7, :6], module.mlps[0](by_hand).amax(3)[0, :, 0])
    pooled.square().sum().backward()
    assert features.grad.abs().sum() > 0
