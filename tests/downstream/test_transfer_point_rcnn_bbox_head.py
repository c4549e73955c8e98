"""A second-stage box is finite, or the frame whose numbers are not is named."""

import pytest
import torch
from small_point_rcnn import batch, small_point_rcnn, street

from cleverdistiller.errors import InputError

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
