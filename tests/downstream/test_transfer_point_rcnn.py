"""PointRCNN's defects in mmdet3d 1.4: each is shown on the stock class and gone from ours. And it learns."""

import gc
from pathlib import Path
from unittest import mock

import pytest
import torch
from mmdet.models.task_modules import AssignResult
from mmdet3d.models.task_modules import IoUNegPiecewiseSampler
from mmdet3d.registry import MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from cleverdistiller.downstream.detectors import PiecewiseRoISampler
from cleverdistiller.errors import InputError
from conftest import REPO
from small_point_rcnn import (
    MINKUNET,
    POINTNET2,
    SIZES_M,
    STOCK_CONFIGS,
    batch,
    losses,
    prepared,
    small_point_rcnn,
    street,
    without_objects,
)

STOCK = STOCK_CONFIGS / '_base_/models/point_rcnn.py'
STOCK_RUN = STOCK_CONFIGS / 'point_rcnn/point-rcnn_8xb2_kitti-3d-3class.py'


def stock_heads(*names: str) -> dict:
    """Our detector with mmdet3d's own heads."""
    heads = dict(rpn='PointRPNHead', roi='PointRCNNRoIHead')
    return {f'{name}_head.type': heads[name] for name in names}


def proposals_of(model, *frames, training: bool = False):
    inputs = prepared(model, *frames, training=training)
    features = model.extract_feat(inputs['batch_inputs_dict'])
    return model.rpn_head.predict(features, inputs['batch_data_samples']), features


# 1. Mean sizes


def sizes_fit(config: Path) -> bool:
    """Whether each class's own mean size is the nearest to it."""
    means = torch.tensor(Config.fromfile(config).model.rpn_head.bbox_coder.mean_size)
    return torch.cdist(torch.tensor(SIZES_M).float(), means).argmin(1).tolist() == [0, 1, 2]


def test_mean_sizes_are_in_the_order_of_the_classes():
    assert sizes_fit(POINTNET2) and sizes_fit(MINKUNET)
    assert not sizes_fit(STOCK)


# 2. Optimiser and epochs


def test_the_schedule_is_80_epochs_and_beta2_is_that_of_adam_s_one_cycle():
    ours = Config.fromfile(REPO / 'configs/_base_/schedules/pointrcnn_80e.py')
    assert ours.optim_wrapper.optimizer.betas == (0.95, 0.99) and ours.train_cfg.max_epochs == 80
    stock = Config.fromfile(STOCK_RUN)
    assert stock.optim_wrapper.optimizer.betas == (0.95, 0.85)
    assert stock.train_dataloader.dataset.type == 'RepeatDataset' and stock.train_dataloader.dataset.times == 2


# 3. Frames without objects, or without a point in one


def empty_boxes(frame: dict) -> dict:
    """The same frame with its objects where no point is."""
    frame['data_samples'].gt_instances_3d.bboxes_3d.tensor[:, 2] += 50
    return frame


@pytest.mark.needs_mmcv_ops
def test_no_point_in_a_box_gives_a_finite_loss():
    ours, stock = small_point_rcnn(), small_point_rcnn(changes=stock_heads('rpn'))
    found = losses(ours, empty_boxes(street(0)))
    assert all(torch.isfinite(value) for value in found.values()) and found['rpn_semantic_loss'] > 0
    sum(found.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in ours.parameters() if p.grad is not None)
    assert losses(stock, empty_boxes(street(0)))['rpn_semantic_loss'].isinf()


@pytest.mark.needs_mmcv_ops
def test_a_frame_without_objects_is_background():
    ours, stock = small_point_rcnn(), small_point_rcnn(changes=stock_heads('rpn'))
    found = losses(ours, without_objects(street(0)), street(1))
    assert all(torch.isfinite(value) for value in found.values())
    targets = ours.rpn_head.get_targets_single(
        torch.zeros(5, 4), LiDARInstance3DBoxes(torch.zeros(0, 7)), torch.zeros(0)
    )
    assert targets[0].shape == (5, 8) and not targets[2].any() and targets[3].all()
    with pytest.raises(IndexError):
        losses(stock, without_objects(street(0)))


@pytest.mark.needs_mmcv_ops
def test_with_objects_the_losses_are_the_stock_ones():
    ours, stock = small_point_rcnn(), small_point_rcnn(changes=stock_heads('rpn'))
    stock.load_state_dict(ours.state_dict())
    ours.eval(), stock.eval()
    found, expected = losses(ours, street(0)), losses(stock, street(0))
    for name in ('rpn_bbox_loss', 'rpn_semantic_loss'):
        torch.testing.assert_close(found[name], expected[name])


# 4. The proposals' options


@pytest.mark.needs_mmcv_ops
@pytest.mark.parametrize(('path', 'read'), [(MINKUNET, 0.8), (STOCK, 0.85)])
def test_training_reads_its_own_proposal_options(path, read):
    model = small_point_rcnn(path)
    with mock.patch.object(model.rpn_head, 'predict_by_feat', wraps=model.rpn_head.predict_by_feat) as spied:
        losses(model, street(0))
    assert spied.call_args.kwargs['cfg'].nms_cfg.iou_thr == read


@pytest.mark.needs_mmcv_ops
def test_a_score_threshold_works_and_the_points_stay():
    ours, stock = small_point_rcnn().eval(), small_point_rcnn(changes=stock_heads('rpn')).eval()
    ((everything,), kept), (_, popped) = proposals_of(ours, street(0)), proposals_of(stock, street(0))
    assert 'raw_points' in kept and 'raw_points' not in popped
    threshold = everything.scores_3d.median().item()
    for model in (ours, stock):
        model.rpn_head.test_cfg.nms_cfg.score_thr = threshold
    (found,), _ = proposals_of(ours, street(0))
    assert torch.equal(found.scores_3d, everything.scores_3d[everything.scores_3d >= threshold])
    assert 0 < len(found) < len(everything)
    with pytest.raises(AttributeError):
        proposals_of(stock, street(0))


# 5. Boxes without points


@pytest.mark.needs_mmcv_ops
def test_proposals_are_the_stock_ones_without_a_search_for_points():
    ours, stock = small_point_rcnn().eval(), small_point_rcnn(changes=stock_heads('rpn')).eval()
    stock.load_state_dict(ours.state_dict())
    found, searches = [], []
    for model in (ours, stock):
        with mock.patch.object(LiDARInstance3DBoxes, 'points_in_boxes', autospec=True) as search:
            search.side_effect = lambda boxes, points: torch.zeros(len(points), dtype=torch.int32)
            found.append(proposals_of(model, street(0))[0][0])
        searches.append(search.call_count)
    assert searches == [0, 1]
    for name in ('scores_3d', 'labels_3d', 'cls_preds'):
        assert torch.equal(found[0][name], found[1][name])
    assert torch.equal(found[0].bboxes_3d.tensor, found[1].bboxes_3d.tensor)


# 6. The second stage's batch


def assigned(overlaps: torch.Tensor, objects: int = 2) -> tuple:
    """What a sampler takes: proposals, positive from 0.55 on."""
    positive = overlaps >= 0.55
    rows = torch.where(positive, torch.arange(len(overlaps)) % objects + 1, 0) if objects else positive.long()
    result = AssignResult(objects, rows, overlaps, torch.where(positive, 0, -1))
    boxes = torch.arange(len(overlaps) * 7.0).view(-1, 7)
    return result, boxes, torch.rand(objects, 7), torch.zeros(objects, dtype=torch.long)


def sampler(kind=PiecewiseRoISampler, num: int = 16, **options):
    return kind(num=num, pos_fraction=0.5, neg_piece_fractions=[0.8, 0.2], neg_iou_piece_thrs=[0.55, 0.1], **options)


@pytest.mark.parametrize('easy', [0, 1, 30])
@pytest.mark.parametrize('hard', [0, 2, 30])
@pytest.mark.parametrize('positive', [0, 3, 30])
def test_the_second_stage_gets_its_number_of_proposals_by_the_rule(positive, hard, easy):
    overlaps = torch.cat([torch.full((positive,), 0.7), torch.full((hard,), 0.3), torch.full((easy,), 0.05)])
    overlaps = overlaps[torch.randperm(len(overlaps))]
    inputs = assigned(overlaps)
    if not len(overlaps):
        with pytest.raises(InputError, match='without a proposal'):
            sampler().sample(*inputs)
        return
    result = sampler().sample(*inputs)
    chosen = torch.cat([result.pos_inds, result.neg_inds])
    assert len(chosen) == 16 and torch.equal(result.iou, overlaps[chosen])
    assert torch.equal(result.priors, inputs[1][chosen])
    assert (overlaps[result.pos_inds] >= 0.55).all() and (overlaps[result.neg_inds] < 0.55).all()
    if hard + easy:
        positives = min(positive, 8)
        negatives = 16 - positives
        easies = min(easy, negatives - min(hard, -(-negatives * 8 // 10)))
        hards = min(hard, negatives - easies)
        distinct = result.neg_inds.unique()
        assert len(result.pos_inds) == positives == len(result.pos_inds.unique())
        assert (overlaps[distinct] >= 0.1).sum() == hards
        assert len(distinct) == min(hard + easy, negatives)
    else:
        assert len(result.pos_inds) == 16 and len(result.pos_inds.unique()) == min(positive, 8)


def test_the_stock_sampler_takes_positives_for_negatives_and_returns_too_few():
    overlaps = torch.cat([torch.full((30,), 0.7), torch.full((2,), 0.05)])  # the two negatives are rows 30 and 31
    ours = sampler().sample(*assigned(overlaps))
    stock = sampler(IoUNegPiecewiseSampler, return_iou=True).sample(*assigned(overlaps))
    assert set(ours.neg_inds.tolist()) == {30, 31}
    assert set(stock.neg_inds.tolist()) & {0, 1}
    all_positive = torch.full((30,), 0.7)
    assert len(sampler().sample(*assigned(all_positive)).priors) == 16
    assert len(sampler(IoUNegPiecewiseSampler, return_iou=True).sample(*assigned(all_positive)).priors) == 8


def test_ground_truth_of_a_frame_without_objects_stacks_with_others():
    empty, other = assigned(torch.full((20,), 0.0), objects=0), assigned(torch.full((20,), 0.7))
    found = [sampler().sample(*inputs).pos_gt_bboxes.shape for inputs in (empty, other)]
    assert found == [(0, 7), (16, 7)]
    assert sampler(IoUNegPiecewiseSampler).sample(*empty).pos_gt_bboxes.shape == (0, 4)


# 7. Batches at test time


@pytest.mark.needs_mmcv_ops
def test_a_batch_is_tested_as_its_frames_are_alone():
    every = {'test_cfg.rcnn.score_thr': 0.0}
    ours, stock = (small_point_rcnn(changes=every | heads).eval() for heads in ({}, stock_heads('roi')))
    stock.load_state_dict(ours.state_dict())
    frames = street(0), street(1)
    together, features = proposals_of(ours, *frames)
    together = [together[0][:5], together[1][:4]]
    samples = [frame['data_samples'] for frame in frames]
    found = ours.roi_head.predict(features, together, samples)
    for row, frame in enumerate(frames):
        alone, its_features = proposals_of(ours, frame)
        (expected,) = stock.roi_head.predict(its_features, [alone[0][: len(together[row])]], [samples[row]])
        assert len(expected.scores_3d) > 0
        torch.testing.assert_close(found[row].scores_3d, expected.scores_3d)
        torch.testing.assert_close(found[row].bboxes_3d.tensor, expected.bboxes_3d.tensor)
        assert torch.equal(found[row].labels_3d, expected.labels_3d)
    with pytest.raises(RuntimeError):
        stock.roi_head.predict(features, together, samples)


@pytest.mark.needs_mmcv_ops
def test_a_frame_without_proposals_has_no_detections():
    nothing = {'test_cfg.rpn.nms_cfg.score_thr': 1.1}
    ours, stock = (small_point_rcnn(changes=nothing | heads).eval() for heads in ({}, stock_heads('roi')))
    found = [sample.pred_instances_3d for sample in ours.test_step(batch(street(0), street(1)))]
    assert [len(frame.bboxes_3d) for frame in found] == [0, 0]
    assert all(frame.scores_3d.shape == frame.labels_3d.shape == (0,) for frame in found)
    with pytest.raises((RuntimeError, IndexError)):
        stock.test_step(batch(street(0)))


# 8. Building twice


@pytest.mark.needs_mmcv_ops
def test_the_backbone_builds_more_than_once():
    assert all(small_point_rcnn() for _ in range(2))
    stock = dict(type='MinkUNetBackbone', sparseconv_backend='spconv')
    with pytest.raises(AssertionError):
        for _ in range(2):
            MODELS.build(stock)


# 9. Sizes of proposals


@pytest.mark.needs_mmcv_ops
def test_a_wild_size_is_bounded_by_the_class_s_mean():
    ours, stock = small_point_rcnn().eval(), small_point_rcnn(changes=stock_heads('rpn')).eval()
    found = []
    for model in (ours, stock):
        with torch.no_grad():
            model.rpn_head.reg_layers[-1].bias[3:5] = 20  # as background points come to have it
            model.rpn_head.reg_layers[-1].bias[5] = -20
        ((frame,), _) = proposals_of(model, street(0))
        found.append((frame.bboxes_3d.dims, frame.labels_3d))
    means = torch.tensor(Config.fromfile(MINKUNET).model.rpn_head.bbox_coder.mean_size)
    dims, labels = found[0]
    torch.testing.assert_close(dims, means[labels] * torch.tensor([8, 8, 1 / 8]))
    assert found[1][0].max() > 1e8


# The whole


@pytest.mark.needs_mmcv_ops
@pytest.mark.parametrize(('path', 'steps'), [(MINKUNET, 40), (POINTNET2, 10)])
def test_the_losses_fall_on_one_street(path, steps):
    model = small_point_rcnn(path)
    model.init_weights()
    model.train()
    options = dict(optimizer=dict(type='AdamW', lr=0.003), clip_grad=dict(max_norm=10))
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', **options))
    rows = [model.train_step(batch(street(0, objects=3, points=400)), wrapper) for _ in range(steps)]
    rpn = [float(row['rpn_bbox_loss'] + row['rpn_semantic_loss']) for row in rows]
    assert sum(rpn[-3:]) < 0.5 * sum(rpn[:3])
    if steps == 40:  # by then proposals meet objects
        boxes = [float(row['loss_bbox']) for row in rows if row['loss_bbox'] > 0]
        assert len(boxes) > 10 and sum(boxes[-5:]) < 0.5 * sum(boxes[:5])


@pytest.mark.needs_mmcv_ops
def test_whole_clouds_go_through_the_backbone_and_sampled_points_through_the_heads():
    model = small_point_rcnn(changes={'num_points': 256})
    frames = street(0, points=700), street(1, points=512)
    found = losses(model, *frames)
    assert all(torch.isfinite(value) for value in found.values())
    features = model.extract_feat(prepared(model, *frames)['batch_inputs_dict'])
    assert features['fp_features'].shape == (2, 128, 256)
    with pytest.raises(InputError, match='SampledPointsFirst'):
        losses(model, street(0, points=400), street(1, objects=2, points=200))
    with pytest.raises(InputError, match='PointSample'):
        losses(small_point_rcnn(), *frames)
    with pytest.raises(InputError, match='StudentPointBackbone'):
        small_point_rcnn(POINTNET2, {'num_points': 256})


# 10. Proposals that keep their graph


def tensors_left(changes: dict) -> int:
    """Tensors that two training steps leave behind."""
    torch.manual_seed(0)
    model = small_point_rcnn(changes=changes)
    model.train()

    def step() -> int:
        parsed, _ = model.parse_losses(losses(model, street(0)))
        parsed.backward()
        del parsed
        gc.collect()
        return sum(isinstance(each, torch.Tensor) for each in gc.get_objects())

    step()  # gradients, and what is made once
    before = step()
    step()
    return step() - before


@pytest.mark.needs_mmcv_ops
def test_a_training_step_leaves_nothing_behind():
    assert tensors_left({}) <= 0
    assert tensors_left(stock_heads('rpn')) > 20


# A frame without points in range


@pytest.mark.needs_mmcv_ops
@pytest.mark.parametrize('empty', [(0,), (0, 1)])
def test_a_cloud_without_points_has_no_detections(empty):
    model = small_point_rcnn(changes={'test_cfg.rcnn.score_thr': 0.0}).eval()
    frames = [street(0), street(1)]
    for row in empty:
        frames[row]['inputs']['points'] = frames[row]['inputs']['points'][:0]
    with torch.no_grad():
        found = model.predict(**prepared(model, *frames, training=False))
    assert [sample.frame_id for sample in found] == ['street0', 'street1']
    for row, sample in enumerate(found):
        boxes = sample.pred_instances_3d
        assert isinstance(boxes.bboxes_3d, LiDARInstance3DBoxes) and boxes.labels_3d.dtype == torch.int64
        assert len(boxes.bboxes_3d) == len(boxes.scores_3d) == len(boxes.labels_3d)
        assert (len(boxes.scores_3d) == 0) == (row in empty)


@pytest.mark.needs_mmcv_ops
def test_a_batch_of_a_single_voxel_is_refused_with_its_frame():
    model, frame = small_point_rcnn(), street(0)
    frame['inputs']['points'][:, :3] = torch.tensor([10.0, 0, -1])
    with pytest.raises(InputError, match='frames street0, whose points are a single voxel'):
        losses(model, frame)
