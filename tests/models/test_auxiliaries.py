import copy

import pytest
import torch
import torch.nn.functional as F
from mmdet3d.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate

from cleverdistiller.errors import InputError
from cleverdistiller.models.auxiliaries import Auxiliary
from cleverdistiller.models.teachers import FrozenTeacher
from cleverdistiller.ops.voxelize import parent_rows
from conftest import small_dataset, small_model

HEAD, LOSS = dict(type='MLPHead', hidden_channels=32), dict(type='L2FeatureLoss')
TEACHER = small_model()['teacher']
BLOCK = dict(type='BlockMatching', projection_head=HEAD, distillation_loss=LOSS)
TOKEN = dict(type='ClassTokenMatching', projection_head=HEAD)
ANOTHER = dict(
    type='AnotherTeacher',
    teacher=dict(TEACHER, name='vit_tiny_patch16_224', arch=dict(depth=2), image_size_hw=(32, 96)),
    projection_head=HEAD,
    distillation_loss=LOSS,
)


@pytest.fixture(scope='module')
def scans(frames_dir) -> list[dict]:
    dataset = DATASETS.build(small_dataset(frames_dir))
    return [dataset[0], dataset[1]]


def build(*auxiliaries: dict, **changes):
    torch.manual_seed(0)
    return MODELS.build(small_model(auxiliaries=auxiliaries, occupancy_head=None, **changes))


def step(model, scans, training: bool = True):
    batch = model.data_preprocessor(pseudo_collate(scans), training)
    return batch['inputs'], model(**batch, mode='loss')


def test_the_teacher_gives_all_that_is_asked_in_one_pass():
    teacher, images = MODELS.build(TEACHER), torch.rand(2, 3, 64, 128)
    seen = teacher.look(images, [-2, 0], class_token=True)
    assert torch.equal(seen.patches, teacher(images)) and set(seen.blocks) == {-2, 0}
    for block, patches in seen.blocks.items():
        alone = copy.copy(teacher)
        alone.block = block % len(teacher.vit.blocks)
        assert torch.equal(patches, alone(images)) and not torch.equal(patches, seen.patches)
    tokens = teacher.vit.forward_features((images - teacher.mean) / teacher.std)
    torch.testing.assert_close(seen.class_token, tokens[:, 0])
    with pytest.raises(InputError, match='-7'):
        teacher.look(images, [-7])


def test_a_parent_is_the_voxel_of_twice_the_size():
    coords = torch.unique(torch.randint(0, 9, (200, 4)), dim=0).int()
    parents = torch.unique(torch.cat([coords[:, :1], coords[:, 1:] // 2], 1), dim=0)
    parents = parents[torch.randperm(len(parents))]
    found = parent_rows(coords, parents)
    slow = {tuple(parent.tolist()): row for row, parent in enumerate(parents)}
    assert found.tolist() == [slow[b, x // 2, y // 2, z // 2] for b, x, y, z in coords.tolist()]


@pytest.mark.needs_sparse_conv
def test_the_stage_before_the_last_is_read_at_the_parent_voxel(scans):
    model = build().eval()
    voxels = model.data_preprocessor(pseudo_collate(scans), False)['inputs'].voxels
    stages = []
    model.student.decoder[-2].register_forward_hook(lambda *args: stages.append(args[-1]))
    taps = model.student.forward_taps(voxels, ('last', 'stride_2'))
    assert torch.equal(taps['last'], model.student(voxels))
    rows = {tuple(cell): feature for cell, feature in zip(stages[0].indices.tolist(), stages[0].features)}
    slow = torch.stack([rows[b, x // 2, y // 2, z // 2] for b, x, y, z in voxels.coords.tolist()])
    assert torch.equal(taps['stride_2'], slow)
    assert {tap: feature.shape[1] for tap, feature in taps.items()} == model.student.tap_channels


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('tap', ['stride_2', 'last'])
def test_a_further_block_is_matched_as_the_last_one_is(scans, tap):
    model = build(dict(BLOCK, tap=tap))
    inputs, losses = step(model, scans)
    [auxiliary] = model.auxiliaries
    features = model.student.forward_taps(inputs.voxels, ('stride_2', 'last'))[tap]
    model.teacher.block -= 1
    patches = model.teacher(inputs.images)
    model.teacher.block += 1
    q_point = auxiliary.projection_head(model.at_points(features, inputs))
    expected = model.distillation_loss(
        q_point, model.at_pixels(patches, inputs), inputs.pairs.image_index, len(inputs.images)
    )
    assert torch.equal(losses['loss_block'], expected)


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('mix3d_prob', [0.0, 1.0])
@pytest.mark.parametrize('points', ['all', 'paired'])
def test_the_class_token_term_equals_a_loop_over_scans_points_and_cameras(scans, mix3d_prob, points):
    changes = dict(data_preprocessor=dict(type='DistillationDataPreprocessor', voxel_size_m=0.2, mix3d_prob=mix3d_prob))
    model = build(dict(TOKEN, points=points), **changes)
    inputs, losses = step(model, scans)
    projected = model.auxiliaries[0].projection_head(model.student(inputs.voxels))
    tokens = model.teacher.look(inputs.images, class_token=True).class_token
    paired, total, first = set(inputs.pairs.point_index.tolist()), 0.0, 0
    for scan, size in enumerate(inputs.scan_sizes):
        rows = [
            projected[inputs.voxels.point_to_voxel[point]]
            for point in range(first, first + size)
            if points == 'all' or point in paired
        ]
        target = torch.maximum(*tokens[2 * scan : 2 * scan + 2])
        total = total + ((torch.stack(rows).max(0).values - target) ** 2).sum() / len(target)
        first += size
    expected = 0.1 * total / len(scans)
    torch.testing.assert_close(losses['loss_class_token'], expected)
    learned = list(model.student.parameters())
    for ours, slow in zip(
        torch.autograd.grad(losses['loss_class_token'], learned, retain_graph=True),
        torch.autograd.grad(expected, learned),
    ):
        # Where voxels tie, which of them gets the gradient is free.
        assert (ours - slow).abs().max() <= 1e-3 * slow.abs().max().clamp(min=1e-4)


@pytest.mark.needs_sparse_conv
def test_the_class_token_term_by_cosine_lies_between_its_bounds(scans):
    _, losses = step(build(dict(TOKEN, distance='cosine', weight=1.0)), scans)
    assert 0 < losses['loss_class_token'] < 2


@pytest.mark.needs_sparse_conv
def test_another_teacher_sees_the_images_at_its_own_size(scans):
    model = build(ANOTHER)
    inputs, losses = step(model, scans)
    [auxiliary] = model.auxiliaries
    images = F.interpolate(inputs.images, (32, 96), mode='bilinear', antialias=True)
    patches = auxiliary.teacher(images)
    assert patches.shape[-2:] == (2, 6)
    q_point = auxiliary.projection_head(model.at_points(model.student(inputs.voxels), inputs))
    expected = model.distillation_loss(
        q_point, model.at_pixels(patches, inputs), inputs.pairs.image_index, len(inputs.images)
    )
    assert torch.equal(losses['loss_another_teacher'], expected)


@pytest.mark.needs_sparse_conv
def test_another_teacher_is_nowhere_to_be_saved_or_optimised_and_moves_along():
    model = build(ANOTHER)
    assert not [name for name in model.state_dict() if 'teacher' in name or 'vit' in name]
    assert not {id(p) for p in model.auxiliaries[0].teacher.parameters()} & {id(p) for p in model.parameters()}
    assert copy.deepcopy(model).auxiliaries[0].teacher is model.auxiliaries[0].teacher
    model.to(torch.float64)
    assert model.auxiliaries[0].teacher.mean.dtype == torch.float64


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('auxiliary', [BLOCK, dict(BLOCK, tap='last'), TOKEN, ANOTHER], ids=lambda each: each['type'])
def test_an_auxiliary_teaches_its_head_and_the_student_and_leaves_the_rest(scans, auxiliary):
    plain, model = build(), build(auxiliary)
    own = [name for name in model.state_dict() if name not in plain.state_dict()]
    assert own and all(name.startswith('auxiliaries.0.projection_head.') for name in own)
    # The student starts from the same numbers, and its own term does not change.
    _, alone = step(plain, scans, training=False)
    _, losses = step(model, scans, training=False)
    assert torch.equal(alone['loss_distill'], losses['loss_distill'])
    [key] = set(losses) - set(alone)
    losses[key].backward()
    assert all(p.grad is not None and p.grad.any() for p in model.auxiliaries[0].parameters())
    assert all(p.grad.any() for p in model.student.stem.parameters())
    assert all(p.grad is None for p in model.projection_head.parameters())
    assert all(p.grad is None for p in model.teacher.parameters())


@pytest.mark.needs_sparse_conv
def test_without_pairs_everything_is_zero_and_finite(scans):
    model = build(BLOCK, dict(TOKEN, points='paired'), ANOTHER)
    blind = [
        dict(scan, inputs=dict(scan['inputs'], pairs=scan['inputs']['pairs'].select(slice(0, 0)))) for scan in scans
    ]
    _, losses = step(model, blind)
    assert losses['loss_block'] == losses['loss_class_token'] == losses['loss_another_teacher'] == 0
    model.parse_losses(losses)[0].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize(
    ('auxiliaries', 'message'),
    [
        ([BLOCK, BLOCK], 'a name of its own'),
        ([dict(BLOCK, tap='stride_3')], 'stride_3'),
        ([dict(TOKEN, distance='l2')], 'mse or cosine'),
        ([dict(TOKEN, points='some')], 'all or paired'),
    ],
)
def test_what_does_not_fit_is_refused(auxiliaries, message):
    with pytest.raises(InputError, match=message):
        build(*auxiliaries)


def test_a_teacher_that_only_knows_patches_says_so():
    class Patches(FrozenTeacher):
        def forward(self, images):
            return images

    images = torch.rand(1, 3, 4, 4)
    assert torch.equal(Patches().look(images).patches, images)
    with pytest.raises(InputError, match='class token'):
        Patches().look(images, class_token=True)


@pytest.mark.needs_sparse_conv
def test_a_signal_of_one_s_own_as_the_docs_show_it(scans):
    @MODELS.register_module(force=True)
    class SmallFeatures(Auxiliary):
        name = 'small_features'

        def __init__(self, student_channels, teacher_channels, weight: float) -> None:
            super().__init__()
            self.weight = weight

        def loss(self, student, teacher, inputs, distiller):
            return dict(loss_small_features=self.weight * student['last'].square().mean())

    model = build(dict(type='SmallFeatures', weight=0.5))
    inputs, losses = step(model, scans)
    torch.testing.assert_close(losses['loss_small_features'], 0.5 * (model.student(inputs.voxels) ** 2).mean())
