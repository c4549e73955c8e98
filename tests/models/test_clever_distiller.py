import copy

import pytest
import torch
import torch.nn.functional as F
from mmdet3d.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import build_optim_wrapper

from cleverdistiller.errors import InputError
from cleverdistiller.structures import PointPixelPairs
from conftest import small_dataset, small_model

pytestmark = pytest.mark.needs_sparse_conv


@pytest.fixture(scope='module')
def scans(frames_dir) -> list[dict]:
    dataset = DATASETS.build(small_dataset(frames_dir))
    return [dataset[0], dataset[1]]


def with_pairs(scan: dict, pairs: PointPixelPairs) -> dict:
    return dict(scan, inputs=dict(scan['inputs'], pairs=pairs))


@pytest.mark.parametrize('align_corners', [True, False])
def test_the_loss_equals_a_loop_over_pairs_on_the_dense_teacher_map(scans, align_corners):
    model = MODELS.build(small_model(occupancy_head=None, align_corners=align_corners))
    scans = [
        with_pairs(s, PointPixelPairs(p.point_index[::5], p.image_index[::5], p.uv_px[::5].floor()))
        for s in scans
        for p in [s['inputs']['pairs']]
    ]
    batch = model.data_preprocessor(pseudo_collate(scans), True)
    inputs = batch['inputs']
    found = model(**batch, mode='loss')['loss_distill']
    features = model.student(inputs.voxels)
    patches, pairs = model.teacher(inputs.images), inputs.pairs
    dense = F.interpolate(patches, (64, 128), mode='bilinear', align_corners=align_corners)
    views = [[] for _ in inputs.images]
    for point, image, (u, v) in zip(pairs.point_index, pairs.image_index, pairs.uv_px.long()):
        ours = model.projection_head(features[inputs.voxels.point_to_voxel[point]][None])[0]
        theirs = dense[image, :, v, u]
        views[image].append((ours / ours.norm() - theirs / theirs.norm()).norm())
    expected = sum(sum(view) / len(view) for view in views) / len(views)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    learned = list(model.parameters())
    for ours, slow in zip(
        torch.autograd.grad(found, learned, retain_graph=True), torch.autograd.grad(expected, learned)
    ):
        assert (ours - slow).abs().max() <= 1e-4 * slow.abs().max().clamp(min=1e-4)


def test_only_optimised_terms_have_loss_in_their_key(scans):
    model = MODELS.build(small_model())
    losses = model(**model.data_preprocessor(pseudo_collate(scans), True), mode='loss')
    assert {key for key in losses if 'loss' in key} == {'loss_distill', 'loss_occupancy', 'loss_intensity'}
    total, _ = model.parse_losses(losses)
    optimised = [losses[key] for key in ('loss_distill', 'loss_occupancy', 'loss_intensity')]
    torch.testing.assert_close(total, sum(optimised))


def test_the_teacher_is_nowhere_to_be_saved_optimised_or_copied(scans):
    model = MODELS.build(small_model())
    teachers = {id(p) for p in model.teacher.parameters()}
    assert not teachers & {id(p) for p in model.parameters()}
    assert not [name for name in model.state_dict() if 'teacher' in name or 'vit' in name]
    assert model.teacher not in list(model.modules())
    ema = ExponentialMovingAverage(model)
    assert ema.module.teacher is model.teacher and copy.deepcopy(model).teacher is model.teacher
    assert not [name for name in ema.state_dict() if 'teacher' in name or 'vit' in name]
    assert not {id(p) for p in ema.module.parameters()} & {id(p) for p in model.parameters()}


def test_the_teacher_moves_with_the_model():
    model = MODELS.build(small_model()).to(torch.float64)
    assert next(model.teacher.parameters()).dtype == model.teacher.mean.dtype == torch.float64
    model.to('meta')
    assert next(model.teacher.parameters()).is_meta and model.teacher.mean.is_meta


def test_the_teacher_is_unchanged_and_in_eval_after_an_epoch_while_the_rest_learns(scans):
    model = MODELS.build(small_model())
    before = {name: p.clone() for name, p in model.teacher.state_dict().items()}
    student = {name: p.clone() for name, p in model.named_parameters()}
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)))
    for _ in range(3):
        model.train()  # as mmengine does at every epoch
        model.train_step(pseudo_collate(scans), wrapper)
    assert not any(module.training for module in model.teacher.modules())
    assert all(torch.equal(before[name], p) for name, p in model.teacher.state_dict().items())
    assert all(not torch.equal(student[name], p) for name, p in model.named_parameters())


def test_a_frame_no_camera_sees_gives_zero_loss_and_finite_gradients(scans):
    model = MODELS.build(small_model(occupancy_head=None))
    blind = [with_pairs(scan, scan['inputs']['pairs'].select(slice(0, 0))) for scan in scans]
    losses = model(**model.data_preprocessor(pseudo_collate(blind), True), mode='loss')
    assert losses['loss_distill'] == 0 and losses['empty_views'] == 4 and losses['pairs'] == 0
    model.parse_losses(losses)[0].backward()
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in model.parameters())


def test_a_blind_frame_leaves_the_other_terms_and_the_other_frame_alive(scans):
    model = MODELS.build(small_model())
    blind = [with_pairs(scan, scan['inputs']['pairs'].select(slice(0, 0))) for scan in scans]
    for batch, empty_views in ((blind, 4), ([scans[0], blind[1]], 2)):
        losses = model(**model.data_preprocessor(pseudo_collate(batch), True), mode='loss')
        assert losses['empty_views'] == empty_views and losses['loss_occupancy'] > 0
        assert bool(losses['loss_distill'] > 0) == (empty_views == 2)
        model.zero_grad()
        model.parse_losses(losses)[0].backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
        assert all(p.grad.any() for p in model.student.stem.parameters())


def test_scalr_s_form_and_prediction(scans):
    model = MODELS.build(small_model(projection_head=dict(type='LinearHead'), occupancy_head=None)).eval()
    scans = [dict(scan, inputs={k: v for k, v in scan['inputs'].items() if k != 'queries'}) for scan in scans]
    batch = model.data_preprocessor(pseudo_collate(scans), False)
    assert set(model(**batch, mode='loss')) == {'loss_distill', 'pairs', 'empty_views'}
    predicted = model(**batch, mode='predict')
    features = model(**batch)
    for scan, found, start in zip(scans, predicted, (0, len(scans[0]['inputs']['points']))):
        count = len(scan['inputs']['points'])
        rows = batch['inputs'].voxels.point_to_voxel[start : start + count]
        assert found['point_features'].shape == (count, 48)
        assert torch.equal(found['point_features'], features[rows])


def test_a_batch_of_a_single_voxel_is_refused_with_its_frame(scans):
    model = MODELS.build(small_model())
    near = dict(scans[1], inputs=dict(scans[1]['inputs'], points=scans[1]['inputs']['points'] * 0.001 + 0.05))
    batch = model.data_preprocessor(pseudo_collate([near]), True)
    with pytest.raises(InputError, match='frames frame1, whose points are a single voxel'):
        model(**batch, mode='loss')
    model(**model.data_preprocessor(pseudo_collate([near, scans[0]]), True), mode='loss')
