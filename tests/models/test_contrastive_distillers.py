"""PPKT and SLidR, against loops over pairs and pixels."""

import math
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper

from cleverdistiller.errors import InputError
from cleverdistiller.models.losses import InfoNCELoss
from cleverdistiller.structures import DistillationInputs
from conftest import REPO, small_dataset, small_model, small_pipeline

METHODS = ('PPKT', 'SLidR')


@pytest.fixture(scope='module')
def pipeline(tmp_path_factory) -> list[dict]:
    steps = [step for step in small_pipeline() if step['type'] != 'SampleOccupancyQueries']
    cache = dict(cache_dir=str(tmp_path_factory.mktemp('superpixels')), num_segments=20, sigma=1.0)
    return [*steps[:2], dict(type='LoadSuperpixels', **cache), *steps[2:]]


@pytest.fixture(scope='module')
def scans(frames_dir, pipeline) -> list[dict]:
    """Two scans of 150 pairs each, at whole pixels."""
    dataset = DATASETS.build(small_dataset(frames_dir, pipeline=pipeline))
    return [with_pairs(dataset[i], slice(None, None, 9)) for i in range(2)]


def with_pairs(scan: dict, chosen: slice) -> dict:
    pairs = scan['inputs']['pairs'].select(chosen)
    pairs.uv_px.floor_()
    return dict(scan, inputs=dict(scan['inputs'], pairs=pairs))


def distiller(method: str, **changes):
    shared = {key: value for key, value in small_model().items() if key in ('teacher', 'student')}
    preprocessor = dict(type='DistillationDataPreprocessor', voxel_size_m=0.2, pair_points='all', mix3d_prob=1.0)
    return MODELS.build(
        dict(
            shared,
            type=method,
            embed_channels=8,
            contrastive_loss=dict(type='InfoNCELoss'),
            data_preprocessor=preprocessor,
            **changes,
        )
    )


def losses_of(model, scans: list[dict]) -> dict[str, torch.Tensor]:
    return model(**model.data_preprocessor(pseudo_collate(scans), True), mode='loss')


def slow_info_nce(queries, keys, temperature: float):
    keys, terms = torch.stack(list(keys)), []
    for row, query in enumerate(queries):
        scores = (keys @ query / temperature).exp()
        terms.append(-(scores[row] / scores.sum()).log())
    return sum(terms) / len(terms)


def slow_embeddings(model, inputs: DistillationInputs) -> tuple[list, torch.Tensor]:
    """Unit vector of each pair's point, and of each pixel (V, E, H, W), from the dense upsampled *teacher* map."""
    features = model.student(inputs.voxels)
    points = []
    for point in inputs.pairs.point_index:
        embedding = model.point_head(features[inputs.voxels.point_to_voxel[point]][None])[0]
        points.append(embedding / embedding.norm())
    dense = F.interpolate(model.teacher(inputs.images), (64, 128), mode='bilinear', align_corners=model.align_corners)
    pixels = model.image_head(dense)  # the original order: upsample, then embed
    return points, pixels / pixels.norm(dim=1, keepdim=True)


def slow_ppkt(model, inputs: DistillationInputs):
    points, pixels = slow_embeddings(model, inputs)
    pairs = inputs.pairs
    keys = [pixels[image, :, v, u] for image, (u, v) in zip(pairs.image_index, pairs.uv_px.long())]
    return slow_info_nce(points, keys, 0.07)


def slow_slidr(model, inputs: DistillationInputs):
    points, pixels = slow_embeddings(model, inputs)
    pairs, superpoints = inputs.pairs, {}
    for point, image, (u, v) in zip(points, pairs.image_index.tolist(), pairs.uv_px.long()):
        superpoints.setdefault((image, int(inputs.superpixels[image, v, u])), []).append(point)
    queries, keys = [], []
    for (image, number), members in superpoints.items():
        queries.append(sum(members) / len(members))
        keys.append(pixels[image][:, inputs.superpixels[image] == number].mean(1))  # of all its pixels
    return slow_info_nce(queries, keys, 0.07)


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('method, slow', [('PPKT', slow_ppkt), ('SLidR', slow_slidr)])
def test_value_and_gradients_equal_the_definition(scans, method, slow, align_corners):
    model = distiller(method, align_corners=align_corners)
    batch = model.data_preprocessor(pseudo_collate(scans), True)
    found = model(**batch, mode='loss')
    expected = slow(model, batch['inputs'])
    torch.testing.assert_close(found['loss_distill'], expected, atol=1e-4, rtol=1e-4)
    learned = dict(model.named_parameters())
    assert {'point_head.weight', 'point_head.bias', 'image_head.weight', 'image_head.bias'} < learned.keys()
    gradients = [
        torch.autograd.grad(loss, list(learned.values()), retain_graph=True)
        for loss in (found['loss_distill'], expected)
    ]
    for name, ours, theirs in zip(learned, *gradients):
        assert (ours - theirs).abs().max() <= 1e-3 * theirs.abs().max().clamp(min=1e-4), name


def test_info_nce_equals_a_loop():
    queries, keys = (torch.randn(7, 5, requires_grad=True) for _ in range(2))
    found = InfoNCELoss(temperature=0.3)(queries, keys)
    expected = slow_info_nce(queries, keys, 0.3)
    torch.testing.assert_close(found, expected)
    for tensor in (queries, keys):
        gradients = [torch.autograd.grad(value, tensor, retain_graph=True)[0] for value in (found, expected)]
        torch.testing.assert_close(*gradients)
    assert not torch.isclose(found, InfoNCELoss(temperature=0.3)(keys, queries))  # one direction only


def test_info_nce_of_one_row_of_none_and_of_equal_rows():
    row = torch.randn(1, 5, requires_grad=True)
    assert InfoNCELoss()(row, torch.randn(1, 5)) == 0
    weight = torch.randn(5, 5, requires_grad=True)
    loss = InfoNCELoss()(torch.zeros(0, 5) @ weight, torch.zeros(0, 5) @ weight)
    loss.backward()
    assert loss == 0 and torch.equal(weight.grad, torch.zeros(5, 5))
    same = torch.ones(6, 5)
    assert float(InfoNCELoss()(same, same)) == pytest.approx(math.log(6))


def test_info_nce_is_computed_in_float32():
    queries, keys = F.normalize(torch.randn(9, 5)), F.normalize(torch.randn(9, 5))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = InfoNCELoss()(queries, keys)
    assert found.dtype == torch.float32 and torch.equal(found, InfoNCELoss()(queries, keys))


@pytest.mark.needs_sparse_conv
def test_ppkt_draws_pairs_anew_and_none_twice(scans, monkeypatch):
    model = distiller('PPKT', num_pairs=40)
    batch = model.data_preprocessor(pseudo_collate(scans), True)
    drawn = []
    stock = model.at_pixels

    def spy(patches, inputs):
        drawn.append(
            {tuple(row) for row in torch.cat([inputs.pairs.uv_px.T, inputs.pairs.point_index[None]]).T.tolist()}
        )
        return stock(patches, inputs)

    monkeypatch.setattr(model, 'at_pixels', spy)
    for _ in range(4):
        losses = model(**batch, mode='loss')
        assert losses['contrasted'] == 40 and losses['pairs'] == len(batch['inputs'].pairs) > 200
    assert [len(each) for each in drawn] == [40] * 4
    assert all(one != other for one, other in combinations(drawn, 2))


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('method', METHODS)
def test_only_the_loss_is_optimised_and_everything_learns(scans, method):
    model = distiller(method)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)))
    losses = model.train_step(pseudo_collate(scans), wrapper)
    assert losses['loss'] == losses['loss_distill'] > 0
    assert 10 < losses['contrasted'] <= losses['pairs']
    assert all(not torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    assert not [name for name in model.state_dict() if 'teacher' in name]


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('method', METHODS)
def test_the_same_step_twice_gives_the_same_bits(scans, method):
    def gradients():
        torch.manual_seed(0)
        model = distiller(method)
        losses_of(model, scans)['loss_distill'].backward()
        return [parameter.grad for parameter in model.parameters()]

    assert all(torch.equal(first, second) for first, second in zip(gradients(), gradients()))


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('method', METHODS)
def test_frames_no_camera_sees_are_finite(scans, method):
    model = distiller(method)
    blind = [with_pairs(scan, slice(0, 0)) for scan in scans]
    losses = losses_of(model, blind)
    assert losses['loss_distill'] == losses['contrasted'] == losses['pairs'] == 0
    losses['loss_distill'].backward()
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in model.parameters())
    losses = losses_of(model, [scans[0], blind[1]])
    losses['loss_distill'].backward()
    assert losses['loss_distill'] > 0 and all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.needs_sparse_conv
def test_bad_input_is_refused(scans):
    with pytest.raises(InputError, match='num_pairs=0'):
        distiller('PPKT', num_pairs=0)
    with pytest.raises(InputError, match='temperature=0'):
        InfoNCELoss(temperature=0)
    without = [dict(scan, inputs={k: v for k, v in scan['inputs'].items() if k != 'superpixels'}) for scan in scans]
    assert losses_of(distiller('PPKT'), without)['loss_distill'] > 0
    with pytest.raises(InputError, match='LoadSuperpixels'):
        losses_of(distiller('SLidR'), without)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('epochs', [50, 100])
def test_the_configs_are_those_of_the_other_methods_but_for_the_method(method, epochs):
    ours, scalr = (
        Config.fromfile(REPO / 'configs' / 'pretrain' / f'{name}_minkunet34_vits_{epochs}e_nuscenes.py')
        for name in (method.lower(), 'scalr')
    )
    assert ours.model.type == method and ours.model.contrastive_loss.temperature == 0.07
    for part in ('student', 'teacher', 'data_preprocessor'):
        assert ours.model[part] == scalr.model[part]
    for part in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'val_dataloader', 'default_hooks'):
        assert ours[part] == scalr[part]
    steps, theirs = (cfg.train_dataloader.dataset.pipeline for cfg in (ours, scalr))
    assert [step for step in steps if step.type != 'LoadSuperpixels'] == theirs
    if method == 'SLidR':
        assert [step.type for step in steps[1:3]] == ['LoadCameraImages', 'LoadSuperpixels']
        assert steps[2] == dict(
            type='LoadSuperpixels', cache_dir='data/nuscenes/superpixels', num_segments=150, compactness=6.0, sigma=3.0
        )
    else:
        assert len(steps) == len(theirs) and ours.model.num_pairs == 4096


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('method', METHODS)
def test_a_config_steps_on_a_cpu_at_reduced_size(scans, method):
    cfg = Config.fromfile(REPO / 'configs' / 'pretrain' / f'{method.lower()}_minkunet34_vits_50e_nuscenes.py')
    cfg.model.teacher.update(name='test_vit', weights='random', image_size_hw=(64, 128))
    cfg.model.student.update(depth=14, width=16)
    cfg.model.data_preprocessor.voxel_size_m = 0.2
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer))
    losses = model.train_step(pseudo_collate(scans), wrapper)
    assert model.point_head.out_features == model.image_head.out_channels == 64
    assert torch.isfinite(losses['loss']) and losses['loss_distill'] > 0
