"""A second-stage box is finite, or the frame whose numbers are not is named."""

from types import SimpleNamespace

import pytest
import torch

from cleverdistiller.errors import InputError
from small_point_rcnn import MINKUNET, batch, small_point_rcnn, street

pytestmark = pytest.mark.needs_mmcv_ops

ALL_BOXES = {'test_cfg.rcnn.score_thr': 0.0, 'test_cfg.rcnn.nms_thr': 1.0}
STOCK = {'roi_head.bbox_head.type': 'PointRCNNBboxHead'}


def detector(changes: dict | None = None):
    torch.manual_seed(0)
    return small_point_rcnn(changes=ALL_BOXES | (changes or {})).eval()


def boxes_of(model) -> list:
    with torch.no_grad():
        return [sample.pred_instances_3d.bboxes_3d for sample in model.test_step(batch(street(0), street(1)))]


def test_a_runaway_size_is_bounded_by_the_proposal_s():
    ours, stock = detector(), detector(STOCK)
    head = ours.roi_head.bbox_head
    with torch.no_grad():
        head.conv_reg.weight.zero_()
        head.conv_reg.bias[3:6] = torch.tensor([100.0, 0, -100])
    stock.load_state_dict(ours.state_dict())
    assert all(torch.isinf(found.dims[:, 0]).all() and len(found) for found in boxes_of(stock))
    runaway = boxes_of(ours)
    head.conv_reg.bias.data.zero_()
    for found, proposals in zip(runaway, boxes_of(ours)):
        assert len(found) == len(proposals)
        torch.testing.assert_close(
            found.dims.sort(0).values, proposals.dims.sort(0).values * torch.tensor([8, 1, 1 / 8])
        )


def test_within_the_bound_the_boxes_are_the_stock_ones():
    ours, stock = detector(), detector(STOCK)
    stock.load_state_dict(ours.state_dict())
    for found, expected in zip(boxes_of(ours), boxes_of(stock)):
        assert len(found) > 0 and torch.equal(found.tensor, expected.tensor)


@pytest.mark.parametrize('layer', ['roi_head.bbox_head.conv_cls', 'roi_head.bbox_head.conv_reg'])
def test_a_diverged_second_stage_is_an_error_by_frame(layer):
    model = detector()
    model.get_submodule(layer).bias.data.fill_(torch.nan)
    with pytest.raises(InputError, match="second stage's predictions for the frame street0"):
        boxes_of(model)


def test_a_diverged_first_stage_is_no_empty_frame():
    model = detector({'test_cfg.rpn.nms_cfg.score_thr': 0.1})
    model.rpn_head.cls_layers[-1].bias.data.fill_(torch.nan)
    with pytest.raises(InputError, match="first stage's predictions for the frame street0"):
        boxes_of(model)


OPENPCDET = MINKUNET.with_name('point_rcnn_minkunet34_openpcdet.py')
OVERLAPS = [0.0, 0.2, 0.3, 0.44, 0.46, 0.5, 0.59, 0.61, 0.69, 0.71, 1.0]


def score_targets(path) -> list[tuple[float, bool]]:
    """Target and whether it counts, of negatives of these overlaps."""
    model = small_point_rcnn(path)
    none = torch.zeros(0, 7)
    found = SimpleNamespace(pos_bboxes=none, pos_gt_bboxes=none, iou=torch.tensor(OVERLAPS))
    label, _, _, _, weights, _ = model.roi_head.bbox_head.get_targets([found], model.roi_head.train_cfg)
    assert weights.sum() == pytest.approx(1)
    return [(float(target), bool(weight > 0)) for target, weight in zip(label, weights)]


def test_what_a_score_learns_between_the_thresholds():
    """mmdet3d: 0 to 1 from an overlap of 0.25 to 0.7. OpenPCDet: nothing from 0.45 to 0.6."""
    for overlap, (target, counts) in zip(OVERLAPS, score_targets(MINKUNET)):
        assert counts and target == pytest.approx(min(max((overlap - 0.25) / 0.45, 0), 1), abs=1e-6)
    for overlap, (target, counts) in zip(OVERLAPS, score_targets(OPENPCDET)):
        assert counts == (not 0.45 < overlap < 0.6)
        assert not counts or target == (overlap > 0.6)


def test_an_unknown_score_target_is_refused():
    with pytest.raises(InputError, match='overlap or class'):
        small_point_rcnn(changes={'roi_head.bbox_head.score_target': 'iou'})
