from types import SimpleNamespace

import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from torch import nn

from cleverdistiller.errors import InputError
from cleverdistiller.models.auxiliaries import TemporalConsistency
from cleverdistiller.models.data_preprocessors import DistillationDataPreprocessor
from cleverdistiller.structures import DistillationInputs
from conftest import REPO, small_dataset, small_model
from temporal_frames import temporal_pipeline, write_temporal_frames

MIXED = [dict(mix3d_prob=0.0), dict(mix3d_prob=1.0)]


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    return write_temporal_frames(tmp_path_factory.mktemp('frames'))


@pytest.fixture(scope='module')
def scans(frames) -> list[dict]:
    """The first two end their scenes."""
    dataset = DATASETS.build(small_dataset(frames, with_next_frame=True, pipeline=temporal_pipeline()))
    return [dataset[row] for row in range(4)]


@pytest.fixture
def linear_distiller() -> SimpleNamespace:
    """A student that sees each voxel alone: gradients can be told apart."""
    linear = nn.Linear(4, 6)
    return SimpleNamespace(student=lambda voxels: linear(voxels.features), parameters=linear.parameters)


def prepare(scans: list[dict], **options) -> DistillationInputs:
    return DistillationDataPreprocessor(0.2, **options)(pseudo_collate(scans), True)['inputs']


def auxiliary(**options) -> TemporalConsistency:
    return TemporalConsistency(dict(last=6), 8, **options)


@pytest.mark.parametrize('options', MIXED)
def test_pairs_name_points_of_the_whole_batch_and_next_frames_are_never_mixed(scans, options):
    chosen = [scans[3], scans[0], scans[2]]
    inputs = prepare(chosen, **options)
    assert inputs.voxels.batch_size == (2 if options['mix3d_prob'] else 3)
    assert inputs.next_voxels.batch_size == 3 and set(inputs.next_voxels.coords[:, 0].tolist()) == {0, 2}
    row = next_row = pair = 0
    for number, scan in enumerate(chosen):
        packed = scan['inputs']
        for point, next_point in packed['temporal_pairs'].tolist():
            assert inputs.temporal_pairs[pair].tolist() == [point + row, next_point + next_row]
            voxel = inputs.next_voxels.point_to_voxel[next_point + next_row]
            speaker = inputs.next_voxels.representative[voxel] - next_row
            assert inputs.next_voxels.coords[voxel, 0] == number
            assert torch.equal(inputs.next_voxels.features[voxel], packed['next_points'][speaker])
            pair += 1
        row, next_row = row + len(packed['points']), next_row + len(packed['next_points'])
    assert pair == len(inputs.temporal_pairs) > 1000


@pytest.mark.parametrize('options', MIXED)
def test_the_loss_equals_a_loop_over_pairs_and_both_frames_get_its_gradient(scans, linear_distiller, options):
    inputs = prepare([scans[3], scans[0], scans[2]], **options)
    features, next_features = (linear_distiller.student(grid) for grid in (inputs.voxels, inputs.next_voxels))
    learned = list(linear_distiller.parameters())
    found = auxiliary(weight=0.5).loss(dict(last=features), None, inputs, linear_distiller)
    distances = []
    for point, next_point in inputs.temporal_pairs.tolist():
        ours = features[inputs.voxels.point_to_voxel[point]]
        theirs = next_features[inputs.next_voxels.point_to_voxel[next_point]]
        distances.append((ours / ours.norm() - theirs / theirs.norm()).norm())
    expected = 0.5 * sum(distances) / len(distances)
    assert expected > 0
    torch.testing.assert_close(found['loss_temporal'], expected)
    gradient, slow = (
        torch.autograd.grad(loss, [features, *learned], retain_graph=True)
        for loss in (found['loss_temporal'], expected)
    )
    for ours, theirs in zip(gradient, slow):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)
    # The part through this frame alone is another one: the next frame's is in the sum.
    (of_this_frame,) = torch.autograd.grad(features, learned[0], gradient[0])
    assert not torch.allclose(of_this_frame, gradient[1], rtol=1e-2)
    assert found['temporal_pairs'] == len(distances) and found['scans_without_temporal_pairs'] == 1


def test_scans_that_end_their_scenes_give_zero_with_a_live_gradient_and_no_second_pass(scans):
    inputs = prepare(scans[:2])
    assert inputs.next_voxels is None
    features = torch.rand(len(inputs.voxels), 6, requires_grad=True)
    losses = auxiliary().loss(dict(last=features), None, inputs, SimpleNamespace())  # no student to call
    losses['loss_temporal'].backward()
    assert losses['loss_temporal'] == 0 and torch.equal(features.grad, torch.zeros_like(features))
    assert losses['temporal_pairs'] == 0 and losses['scans_without_temporal_pairs'] == 2


def test_a_batch_without_next_frames_is_refused(scans, linear_distiller):
    packed = [dict(scan, inputs=dict(points=scan['inputs']['points'])) for scan in scans]
    with pytest.raises(InputError, match='nuscenes_distill_temporal'):
        auxiliary().loss({}, None, prepare(packed), linear_distiller)


@pytest.mark.needs_sparse_conv
def test_it_adds_its_weighted_loss_to_the_distiller_s_and_no_parameter(scans):
    plain, model = (seeded_model(auxiliaries=auxiliaries) for auxiliaries in ([], [dict(type='TemporalConsistency')]))
    assert model.state_dict().keys() == plain.state_dict().keys()
    batch = plain.data_preprocessor(pseudo_collate(scans), True)
    expected, losses = plain(**batch, mode='loss'), model(**batch, mode='loss')
    assert all(torch.equal(losses[key], value) for key, value in expected.items())
    assert losses.keys() - expected.keys() == {'loss_temporal', 'temporal_pairs', 'scans_without_temporal_pairs'}
    total = model.parse_losses(losses)[0]
    torch.testing.assert_close(total, plain.parse_losses(expected)[0] + losses['loss_temporal'])
    assert losses['loss_temporal'] > 0
    total.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.needs_sparse_conv
def test_a_step_gives_the_same_bits_again(scans):
    gradients = []
    for _ in range(2):
        model = seeded_model(occupancy_head=None, auxiliaries=[dict(type='TemporalConsistency', weight=1.0)])
        batch = model.data_preprocessor(pseudo_collate(scans[2:]), True)
        model(**batch, mode='loss')['loss_temporal'].backward()
        gradients.append([parameter.grad for parameter in model.student.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*gradients)) and any(gradient.any() for gradient in gradients[0])


def seeded_model(**changes):
    torch.manual_seed(0)  # of the random teacher too, which is in no state dict
    return MODELS.build(small_model(**changes))


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('method, occupancy', [('temporal', False), ('temporal_occupancy', True)])
def test_a_leaf_loads_the_next_sweep_just_before_augmentation_and_steps(method, occupancy, frames):
    cfg = Config.fromfile(REPO / f'configs/ablation/{method}_minkunet34_vits_100e_nuscenes.py')
    pipeline = cfg.train_dataloader.dataset.pipeline
    steps = [step.type for step in pipeline]
    assert steps[-3:] == ['LoadNextSweep', 'AugmentScan', 'PackDistillationInputs'] and steps[0] == 'LoadLiDARSweep'
    assert ('SampleOccupancyQueries' in steps) == occupancy
    assert cfg.train_dataloader.dataset.with_next_frame and 'with_next_frame' not in cfg.val_dataloader.dataset
    assert cfg.model.auxiliaries == [dict(type='TemporalConsistency', weight=0.05)]
    assert cfg.model.projection_head.type == 'MLPHead'

    pipeline[1].size_hw = (28, 56)
    cfg.model.teacher.update(weights='random', image_size_hw=(28, 56))
    cfg.model.student.update(depth=14, width=16)
    cfg.model.projection_head.hidden_channels = 32
    cfg.model.data_preprocessor.voxel_size_m = 0.2
    dataset = DATASETS.build(small_dataset(frames, with_next_frame=True, pipeline=pipeline))
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer))
    losses = model.train_step(pseudo_collate([dataset[0], dataset[3]]), wrapper)
    assert torch.isfinite(losses['loss']) and losses['loss_distill'] > 0 and losses['loss_temporal'] > 0
    assert ('loss_occupancy' in losses) == occupancy and losses['scans_without_temporal_pairs'] == 1
