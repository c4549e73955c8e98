"""The segmentor: what is frozen, what a point is given, what a loss counts, and which weights it refuses."""

import pytest
import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS, PARAM_SCHEDULERS
from mmdet3d.structures import Det3DDataSample, PointData
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from safetensors.torch import save_file

from cleverdistiller.errors import InputError
from cleverdistiller.models.students import MinkUNetStudent
from cleverdistiller.ops.state_dict_hash import state_dict_hash
from cleverdistiller.ops.voxelize import voxelize
from conftest import REPO

pytestmark = pytest.mark.needs_sparse_conv

K = 5
STUDENT = dict(type='MinkUNetStudent', depth=14, width=16)


def small_segmentor(**changes):
    config = dict(
        type='StudentSegmentor',
        data_preprocessor=dict(type='SegmentationDataPreprocessor', voxel_size_m=0.5),
        backbone=STUDENT,
        decode_head=dict(type='LinearHead'),
        num_classes=K,
        losses=dict(ce=dict(type='mmdet.CrossEntropyLoss'), lovasz=dict(type='LovaszLoss', reduction='none')),
        student_weights=None,
    )
    return MODELS.build(dict(config, **changes))


def scan(seed: int, points: int = 400, labels=None) -> dict:
    """One frame as Pack3DDetInputs packs it."""
    generator = torch.Generator().manual_seed(seed)
    cloud = torch.rand(points, 4, generator=generator) * torch.tensor([12.0, 12.0, 3.0, 1.0])
    if labels is None:
        labels = torch.randint(0, K + 1, (points,), generator=generator)
    sample = Det3DDataSample(gt_pts_seg=PointData(pts_semantic_mask=labels), metainfo=dict(frame_id=str(seed)))
    return dict(inputs=dict(points=cloud), data_samples=sample)


def batch(count: int = 2, **options) -> dict:
    return pseudo_collate([scan(seed, **options) for seed in range(count)])


def step(model, data, lr: float = 0.1) -> dict:
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=lr)))
    return model.train_step(data, wrapper)


def test_linear_probing_leaves_every_bit_of_the_backbone():
    model = small_segmentor(frozen=True)
    before, head = state_dict_hash(model.backbone), model.decode_head.linear.weight.clone()
    for _ in range(2):
        model.train()  # as mmengine does at every epoch
        step(model, batch())
    assert state_dict_hash(model.backbone) == before
    assert not torch.equal(model.decode_head.linear.weight, head)
    assert not model.backbone.training and model.decode_head.training


def test_the_looser_practice_lets_only_the_statistics_drift():
    model = small_segmentor(frozen=True, bn_train_in_lp=True)
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    model.train()
    step(model, batch())
    changed = {name for name, value in model.backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all('running_' in name or 'num_batches' in name for name in changed)
    with pytest.raises(InputError, match='bn_train_in_lp'):
        small_segmentor(bn_train_in_lp=True)


def test_fine_tuning_moves_the_backbone():
    model = small_segmentor()
    before = model.backbone.stem[0].weight.clone()
    model.train()
    step(model, batch())
    assert not torch.equal(model.backbone.stem[0].weight, before)


def test_head_and_backbone_learn_at_their_own_rates():
    cfg = Config.fromfile(REPO / 'configs/segmentation/ft_minkunet34_1_nuscenes.py')
    keys = 'optim_wrapper.paramwise_cfg.custom_keys'  # as --cfg-options of docs/segmentation.md
    cfg.merge_from_dict({f'{keys}.backbone.lr_mult': 0.1, f'{keys}.decode_head.lr_mult': 10})
    model = small_segmentor()
    options = dict(optimizer=cfg.optim_wrapper.optimizer, paramwise_cfg=cfg.optim_wrapper.paramwise_cfg)
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', **options))
    rates = {id(parameter): group['lr'] for group in wrapper.param_groups for parameter in group['params']}
    schedule = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler, optimizer=wrapper, end=10))
    assert all(rates[id(p)] == pytest.approx(1e-4) for p in model.backbone.parameters())
    assert all(rates[id(p)] == pytest.approx(1e-2) for p in model.decode_head.parameters())
    assert max(schedule.get_last_value()) == pytest.approx(100 * min(schedule.get_last_value()))  # the cycle keeps them


@pytest.mark.parametrize('mix', [0.0, 1.0])
def test_the_loss_is_that_of_the_labelled_voxels(mix):
    model = small_segmentor(losses=dict(ce=dict(type='mmdet.CrossEntropyLoss'))).eval()
    model.data_preprocessor.mix3d_prob = mix
    data = model.data_preprocessor(batch(), training=True)
    losses = model.loss(**data)
    inputs, logits = data['inputs'], model(**data)
    assert inputs.voxels.batch_size == (1 if mix else 2)
    terms = []
    for voxel, point in enumerate(inputs.voxels.representative.tolist()):
        label = int(inputs.labels[point])
        if label < K:
            terms.append(F.cross_entropy(logits[voxel], torch.tensor(label)))
    assert losses['labelled_voxels'] == len(terms) < len(logits)
    torch.testing.assert_close(losses['loss_ce'], torch.stack(terms).mean())


@pytest.mark.parametrize('labelled', [0, 1])
def test_few_or_no_labels_give_finite_losses_and_gradients(labelled):
    labels = torch.full((400,), K)
    labels[:labelled] = 2
    model = small_segmentor()
    model.train()
    losses = model.loss(**model.data_preprocessor(batch(labels=labels)))  # first points represent, as in evaluation
    total = losses['loss_ce'] + losses['loss_lovasz']
    total.backward()
    assert losses['labelled_voxels'] == 2 * labelled and torch.isfinite(total)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert (total == 0) == (labelled == 0)


def test_every_original_point_gets_its_voxel_s_class():
    model = small_segmentor().eval()
    data = batch()
    found = model.test_step(data)
    prepared = model.data_preprocessor(batch())
    with torch.no_grad():
        logits = model(**prepared)
    voxels, start = prepared['inputs'].voxels, 0
    for sample, points in zip(found, data['inputs']['points']):
        classes = sample.pred_pts_seg.pts_semantic_mask
        assert classes.shape == (len(points),) and classes.max() < K
        for row in range(len(points)):
            assert classes[row] == logits[voxels.point_to_voxel[start + row]].argmax()
        assert torch.equal(sample.pts_seg_logits.pts_seg_logits.argmax(0), classes)
        start += len(points)


def test_scans_without_labels_are_predicted():
    frame = scan(0)
    frame['data_samples'].gt_pts_seg = PointData()  # what Pack3DDetInputs makes of a frame without a mask
    found = small_segmentor().eval().test_step(pseudo_collate([frame]))
    assert len(found[0].pred_pts_seg.pts_semantic_mask) == 400


def test_an_exported_student_is_loaded_before_training_and_not_needed_for_testing(tmp_path):
    student = MinkUNetStudent(depth=14, width=16)
    path = tmp_path / 'student.pth'
    torch.save(dict(state_dict=student.state_dict()), path)
    model = small_segmentor(student_weights=str(path))
    model.init_weights()
    assert state_dict_hash(model.backbone) == state_dict_hash(student)
    model = small_segmentor(student_weights='required')  # builds: a test checkpoint brings all weights
    with pytest.raises(InputError, match='student_weights=FILE'):
        model.init_weights()


def test_a_student_of_another_grid_is_refused_unless_that_is_wanted(tmp_path):
    weights = MinkUNetStudent(depth=14, width=16).state_dict()
    paths = tmp_path / 'student.pth', tmp_path / 'student.safetensors'
    torch.save(dict(meta=dict(voxel_size_m='0.1'), state_dict=weights), paths[0])
    save_file(dict(weights), paths[1], metadata=dict(voxel_size_m='0.1'))
    for path in map(str, paths):
        with pytest.raises(InputError, match=r'voxels of 0\.1 m, for voxels of 0\.5 m'):
            small_segmentor(student_weights=path).init_weights()
        small_segmentor(student_weights=path, allow_other_voxel_size=True).init_weights()


def test_missing_or_misshapen_backbone_keys_stop_the_run_by_name(tmp_path):
    weights = MinkUNetStudent(depth=14, width=16).state_dict()
    missing = sorted(weights)[3]
    del weights[missing]
    misshapen = 'stem.0.weight'
    weights[misshapen] = weights[misshapen][..., :1].clone()
    torch.save(dict(state_dict=weights), tmp_path / 'student.pth')
    with pytest.raises(InputError) as refused:
        small_segmentor(student_weights=str(tmp_path / 'student.pth')).init_weights()
    assert missing in str(refused.value) and misshapen in str(refused.value)


@pytest.mark.parametrize('empty', [(0,), (1,), (0, 1)])
def test_a_scan_without_points_gets_no_labels_and_the_others_their_own(empty):
    model = small_segmentor().eval()
    frames = [scan(0), scan(1)]
    expected = [found.pred_pts_seg.pts_semantic_mask for found in model.test_step(pseudo_collate(frames))]
    for row in empty:
        frames[row]['inputs']['points'] = frames[row]['inputs']['points'][:0]
        expected[row] = expected[row][:0]
    for found, wanted in zip(model.test_step(pseudo_collate(frames)), expected, strict=True):
        assert torch.equal(found.pred_pts_seg.pts_semantic_mask, wanted)
        assert found.pts_seg_logits.pts_seg_logits.shape == (K, len(wanted))


def test_training_on_a_single_voxel_names_the_frames():
    one = scan(3)
    one['inputs']['points'][:, :3] *= 0.01
    with pytest.raises(InputError, match=r'frames 3, whose points are a single voxel(.|\n)*remedy'):
        step(small_segmentor(), pseudo_collate([one]))
    step(small_segmentor(), pseudo_collate([one, scan(4)]))  # a batch in which another frame has more


def test_other_errors_of_the_network_stay_what_they_are():
    model = small_segmentor()
    model.decode_head.forward = lambda features: (_ for _ in ()).throw(ValueError('something else'))
    with pytest.raises(ValueError, match=r'^something else$'):
        step(model, batch())


def test_a_student_asked_to_train_on_nothing_says_so():
    backbone = small_segmentor().backbone.train()
    nothing = torch.zeros(0, 4)
    grid = voxelize(nothing, torch.zeros(0, dtype=torch.int64), 1, 0.5, True)
    with pytest.raises(InputError, match='a training batch without points'):
        backbone(grid)
    assert backbone.eval()(grid).shape == (0, backbone.out_channels)
