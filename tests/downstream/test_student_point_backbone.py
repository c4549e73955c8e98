"""The student in PointNet++'s place: what it sees, what a point gets, and which weights it takes."""

import json

import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.optim import build_optim_wrapper
from safetensors.torch import save_file
from torch import nn

from cleverdistiller.downstream.student_weights import StudentOptions, transfer_student
from cleverdistiller.errors import InputError
from cleverdistiller.ops.state_dict_hash import state_dict_hash
from small_point_rcnn import STUDENT

OPTIONS = StudentOptions('model.backbone', 'model.backbone.student', 'model.backbone.voxel_size_m')


@MODELS.register_module()
class SeesFeatures(nn.Module):
    """A student that hands its voxels' features on."""

    out_channels = 4

    def forward(self, voxels):
        return voxels.features


def backbone_of(student: dict = STUDENT, **options):
    options = dict(dict(voxel_size_m=0.5, student_weights=None), **options)
    return MODELS.build(dict(type='StudentPointBackbone', student=dict(student), **options))


def transparent(**options):
    """A backbone that gives each point its voxel's four input features."""
    backbone = backbone_of(dict(type='SeesFeatures'), out_channels=4, **options)
    nn.init.eye_(backbone.projection[0].weight)
    nn.init.zeros_(backbone.projection[0].bias)
    return backbone


def clouds(count: int = 2, points: int = 300, channels: int = 5) -> torch.Tensor:
    return torch.rand(count, points, channels) * torch.tensor([6.0, 6, 2, 1, 1])[:channels] - 3


def write_student(folder, width: int = 16, suffix: str = '.safetensors', drop=(), **metadata):
    """An export as ExportStudentHook writes it."""
    student = MODELS.build(dict(STUDENT, width=width))
    state = {name: value for name, value in student.state_dict().items() if name not in drop}
    said = dict(
        dict(voxel_size_m='0.5', student=json.dumps(dict(type='MinkUNetStudent', **student.arguments))), **metadata
    )
    path = folder / f'student{suffix}'
    if suffix == '.safetensors':
        save_file(state, path, metadata=said)
    else:
        torch.save(dict(meta=said, state_dict=state), path)
    return path, student


def test_each_point_gets_its_voxel_s_first_point():
    points = clouds()
    found = transparent().eval()(points)
    assert torch.equal(found['fp_xyz'], points[..., :3])
    for row, cloud in enumerate(points):
        first = {}
        for point in cloud:
            first.setdefault(tuple(torch.floor(point[:3].double() / 0.5).tolist()), point)
        assert len(first) < len(cloud)
        for column, point in enumerate(cloud):
            expected = first[tuple(torch.floor(point[:3].double() / 0.5).tolist())][:4]
            torch.testing.assert_close(found['fp_features'][row, :, column], expected)


def test_features_can_be_normalised_as_the_stock_neck_s_are():
    points, plain, normal = clouds(), transparent(), transparent(normalize=True)
    rows = plain.eval().student(plain.voxelize(points))
    expected = ((rows - rows.mean(0)) / (rows.var(0, unbiased=False) + 1e-5).sqrt()).relu()
    normal.random_representative = False
    found = normal.train()(points)['fp_features'].transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(found, expected[plain.voxelize(points).point_to_voxel])


def test_the_representative_is_drawn_in_training_alone():
    points = clouds()
    drawn = transparent().train()
    assert not torch.equal(drawn(points)['fp_features'], drawn(points)['fp_features'])
    assert torch.equal(drawn.eval()(points)['fp_features'], drawn(points)['fp_features'])
    first = transparent(random_representative=False).train()
    assert torch.equal(first(points)['fp_features'], drawn(points)['fp_features'])


@pytest.mark.needs_sparse_conv
def test_whole_clouds_are_voxelised_and_their_first_points_answered():
    uneven = [clouds(1, 300)[0], clouds(1, 120)[0]]
    backbone = backbone_of().eval()
    with torch.no_grad():
        found = backbone(uneven, num_points=100)
        alone = [backbone(cloud[None]) for cloud in uneven]
        thinned = backbone([cloud[:100] for cloud in uneven])
    assert found['fp_xyz'].shape == (2, 100, 3) and found['fp_features'].shape == (2, 128, 100)
    for row in range(2):
        torch.testing.assert_close(found['fp_features'][row], alone[row]['fp_features'][0, :, :100])
    assert not torch.allclose(found['fp_features'], thinned['fp_features'], atol=1e-3)


@pytest.mark.needs_sparse_conv
def test_a_frozen_student_is_left_as_it_was():
    backbone = backbone_of(frozen=True)
    backbone.train()  # as mmengine does at every epoch
    before, projection = state_dict_hash(backbone.student), backbone.projection[0].weight.clone()
    wrapper = build_optim_wrapper(backbone, dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.1)))
    wrapper.update_params(backbone(clouds())['fp_features'].sum())
    assert state_dict_hash(backbone.student) == before
    assert not torch.equal(backbone.projection[0].weight, projection)
    loose = backbone_of().train()
    loose(clouds())['fp_features'].square().sum().backward()
    assert loose.student.stem[0].weight.grad.abs().sum() > 0


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_transfer_brings_the_whole_backbone_and_says_so(tmp_path, suffix):
    path, exported = write_student(tmp_path, suffix=suffix)
    backbone = backbone_of(student_weights=str(path))
    backbone.init_weights()
    assert state_dict_hash(backbone.student) == state_dict_hash(exported)
    report = transfer_student(backbone.student, str(path), 0.5, OPTIONS)
    count = len(exported.state_dict())
    assert report.share == 1 and report.parameters == sum(p.numel() for p in exported.parameters())
    assert f'{count} of {count} tensors loaded, 0 missing, 0 unexpected; 100.00% of the' in str(report)


@pytest.mark.needs_sparse_conv
def test_a_missing_tensor_stops_the_run_unless_it_is_named(tmp_path):
    path, exported = write_student(tmp_path, drop=('stem.0.weight',))
    with pytest.raises(InputError, match=r'1 missing \(stem\.0\.weight\)(.|\n)*model\.backbone\.allow_missing'):
        backbone_of(student_weights=str(path)).init_weights()
    with pytest.raises(InputError, match='stem'):
        backbone_of(student_weights=str(path), allow_missing=['down.']).init_weights()
    backbone = backbone_of(student_weights=str(path), allow_missing=['stem.'])
    start = backbone.student.stem[0].weight.clone()
    backbone.init_weights()
    assert torch.equal(backbone.student.stem[0].weight, start)
    assert torch.equal(backbone.student.stem[3].weight, exported.stem[3].weight)
    report = transfer_student(backbone.student, str(path), 0.5, OPTIONS, allow_missing=['stem.'])
    assert report.missing == ('stem.0.weight',) and report.unexpected == ()
    assert report.share == 1 - start.numel() / report.parameters


@pytest.mark.needs_sparse_conv
def test_a_student_of_another_width_or_grid_is_one_clear_error(tmp_path):
    path, _ = write_student(tmp_path, width=32)
    with pytest.raises(InputError) as refused:
        backbone_of(student_weights=str(path)).init_weights()
    assert 'width=32, for one with width=16' in str(refused.value)
    assert '--cfg-options model.backbone.student.width=32' in str(refused.value)
    path, _ = write_student(tmp_path)
    with pytest.raises(InputError, match=r'voxels of 0\.5 m, for voxels of 0\.2 m(.|\n)*model\.backbone\.voxel_size_m'):
        backbone_of(student_weights=str(path), voxel_size_m=0.2).init_weights()
    backbone_of(student_weights=str(path), voxel_size_m=0.2, allow_other_voxel_size=True).init_weights()
    with pytest.raises(InputError, match=r'model\.backbone\.student_weights=FILE'):
        backbone_of(student_weights='required').init_weights()


@pytest.mark.needs_sparse_conv
def test_a_file_that_says_nothing_of_itself_is_compared_tensor_by_tensor(tmp_path):
    torch.save(MODELS.build(dict(STUDENT, width=32)).state_dict(), tmp_path / 'student.pth')
    with pytest.raises(InputError, match=r'stem\.0\.weight \(32, 3, 3, 3, 4\) instead of \(16, 3, 3, 3, 4\)'):
        backbone_of(student_weights=str(tmp_path / 'student.pth')).init_weights()


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('allow_missing', [(), ('embedding.',)])
def test_an_export_older_than_an_argument_is_another_student_though_all_its_tensors_fit(tmp_path, allow_missing):
    small = dict(type='PointTransformerV3Student', channels=(16, 16), depths=(1, 1), decoder_depths=(1,))
    small.update(decoder_channels=(16,), head_channels=8, patch_size=8)
    summed, default = MODELS.build(dict(small, unpooling='sum')), MODELS.build(small)
    made_with = {key: value for key, value in summed.arguments.items() if key != 'unpooling'}
    path = str(tmp_path / 'student.safetensors')
    metadata = dict(voxel_size_m='0.5', student=json.dumps(dict(type=small['type'], **made_with)))
    save_file(dict(summed.state_dict()), path, metadata=metadata)
    with pytest.raises(InputError, match=r'--cfg-options model.backbone.student.unpooling=sum'):
        transfer_student(default, path, 0.5, OPTIONS, allow_missing=allow_missing)
    assert transfer_student(summed, path, 0.5, OPTIONS, allow_missing=allow_missing).share == 1


@pytest.mark.needs_sparse_conv
def test_student_and_heads_learn_at_their_own_rates():
    model = nn.ModuleDict(dict(backbone=backbone_of()))
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=0.01),
            paramwise_cfg=dict(custom_keys={'backbone.student': dict(lr_mult=0.1)}),  # as the docstring says
        ),
    )
    rates = {id(parameter): group['lr'] for group in wrapper.param_groups for parameter in group['params']}
    assert all(rates[id(p)] == pytest.approx(0.001) for p in model.backbone.student.parameters())
    assert rates[id(model.backbone.projection[0].weight)] == 0.01
