import copy

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from cleverdistiller.errors import InputError
from cleverdistiller.models.students import MinkUNetStudent
from cleverdistiller.structures import VoxelGrid


def make_grid(cells: torch.Tensor) -> VoxelGrid:
    """A voxel grid from (M, 4) batch rows and cells, with made-up features."""
    rows = torch.arange(len(cells))
    return VoxelGrid(torch.randn(len(cells), 4), cells.int(), rows, rows, int(cells[:, 0].max()) + 1)


def random_cells(extent: tuple[int, int, int], count: int, batch: int = 0) -> torch.Tensor:
    """``count`` different cells with corners in the first and the last cell of the extent."""
    inside = torch.cartesian_prod(*map(torch.arange, extent))
    chosen = torch.cat([torch.tensor([0, len(inside) - 1]), 1 + torch.randperm(len(inside) - 2)[: count - 2]])
    return F.pad(inside[chosen], (1, 0), value=batch)


def make_student(**options) -> MinkUNetStudent:
    """In eval mode, with BatchNorm statistics and affine parameters that matter."""
    torch.manual_seed(1)
    student = MinkUNetStudent(**{**dict(depth=14, width=16), **options})
    norms = [layer for layer in student.modules() if isinstance(layer, nn.BatchNorm1d)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = None
        nn.init.normal_(layer.weight, 1, 0.2)
        nn.init.normal_(layer.bias, 0, 0.2)
    with torch.no_grad():
        student.train()(make_grid(random_cells((40, 40, 4), 1500)))
    for layer, momentum in zip(norms, momenta):
        layer.momentum = momentum
    return student.eval()


@pytest.fixture(scope='module', params=['pointcept', 'mmdet3d'])
def student(request):
    return make_student(variant=request.param)


def dense_twin(student: MinkUNetStudent, grid: VoxelGrid, size: int) -> torch.Tensor:
    """The same network with ``conv3d`` on a full cube of ``size`` cells, silent where no voxel is."""
    batch, x, y, z = grid.coords.long().T
    dense = torch.zeros(grid.batch_size, 4, size, size, size)
    dense[batch, :, x, y, z] = grid.features
    mask = torch.zeros(grid.batch_size, 1, size, size, size)
    mask[batch, :, x, y, z] = 1

    def kernel(layer):  # (out, k, k, k, in) to (out, in, k, k, k)
        return layer.weight.permute(0, 4, 1, 2, 3)

    def norm(layer, dense, mask):
        mean, var, weight, bias = (
            v.view(-1, 1, 1, 1) for v in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
        )
        return ((dense - mean) / (var + layer.eps).sqrt() * weight + bias) * mask

    def subm(layer, dense, mask):
        return F.conv3d(dense, kernel(layer), padding=layer.weight.shape[1] // 2) * mask

    def stage(blocks, dense, mask):
        for block in blocks:
            shortcut = dense
            if isinstance(block.shortcut, nn.Sequential):
                linear, shortcut_norm = block.shortcut
                shortcut = norm(shortcut_norm, F.conv3d(dense, linear.weight[..., None, None, None]), mask)
            out = norm(block.norm1, subm(block.conv1, dense, mask), mask).relu()
            dense = (norm(block.norm2, subm(block.conv2, out, mask), mask) + shortcut).relu()
        return dense

    stem = list(student.stem.children())
    for conv, bn in zip(stem[::3], stem[1::3]):
        dense = norm(bn, subm(conv, dense, mask), mask).relu()
    skips = []
    for down, blocks in zip(student.down, student.encoder):
        conv, bn, _ = down.children()
        skips.append((dense, mask))
        mask = F.max_pool3d(mask, 2)
        dense = norm(bn, F.conv3d(dense, kernel(conv), stride=2), mask).relu()
        dense = stage(blocks, dense, mask)
    for up, blocks in zip(student.up, student.decoder):
        conv, bn, _ = up.children()
        skip, mask = skips.pop()
        dense = F.conv_transpose3d(dense, kernel(conv).transpose(0, 1), stride=2) * mask
        dense = stage(blocks, torch.cat([norm(bn, dense, mask).relu(), skip], 1), mask)
    return dense[batch, :, x, y, z]


@pytest.mark.needs_sparse_conv
@torch.no_grad()
def test_the_network_equals_its_dense_twin(student):
    grid = make_grid(torch.cat([random_cells((17, 5, 9), 250), random_cells((3, 19, 20), 250, batch=1)]))
    found = student(grid)
    assert found.shape == (500, 48) and (found >= 0).all() and found.std() > 0.1
    torch.testing.assert_close(found, dense_twin(student, grid, 32), rtol=1e-4, atol=1e-4)


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize(
    'variant, millions, eps, momentum', [('pointcept', 39.15, 1e-3, 0.01), ('mmdet3d', 37.87, 1e-5, 0.1)]
)
def test_minkunet34_has_the_published_size(variant, millions, eps, momentum):
    student = MinkUNetStudent(34, variant=variant)
    assert round(sum(p.numel() for p in student.parameters()) / 1e6, 2) == millions
    assert student.out_channels == 96
    norms = [layer for layer in student.modules() if isinstance(layer, nn.BatchNorm1d)]
    assert {(layer.eps, layer.momentum) for layer in norms} == {(eps, momentum)}


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('depth, blocks', [(14, 8), (18, 16)])
@pytest.mark.parametrize('variant, stem', [('pointcept', 1), ('mmdet3d', 2)])
def test_shallower_students_give_96_features_that_are_not_negative(depth, blocks, variant, stem):
    student = MinkUNetStudent(depth, variant=variant).eval()
    kernels = [p for p in student.parameters() if p.dim() == 5]
    assert len(kernels) == stem + 4 + 4 + 2 * blocks
    found = student(make_grid(random_cells((9, 9, 9), 40)))
    assert found.shape == (40, 96) and (found >= 0).all() and found.any()


@pytest.mark.needs_sparse_conv
def test_width_16_halves_every_channel():
    wide, narrow = (MinkUNetStudent(14, width).state_dict() for width in (32, 16))
    assert wide.keys() == narrow.keys()
    for name, tensor in wide.items():
        halved = [size // 2 if size >= 32 else size for size in tensor.shape]
        assert list(narrow[name].shape) == halved, name


@pytest.mark.needs_sparse_conv
def test_weights_lie_as_out_kernel_in():
    shapes = {name: tuple(p.shape) for name, p in MinkUNetStudent(14).named_parameters() if p.dim() == 5}
    assert shapes['stem.0.weight'] == (32, 5, 5, 5, 4)
    assert shapes['down.1.0.weight'] == (64, 2, 2, 2, 32)
    assert shapes['up.1.0.weight'] == (128, 2, 2, 2, 256)
    assert shapes['decoder.1.0.conv1.weight'] == (128, 3, 3, 3, 128 + 64)


@pytest.mark.needs_sparse_conv
@torch.no_grad()
def test_permuted_voxels_permute_the_output(student):
    grid = make_grid(random_cells((11, 7, 13), 300))
    order = torch.randperm(300)
    rows = torch.arange(300)
    permuted = VoxelGrid(grid.features[order], grid.coords[order], rows, rows, 1)
    torch.testing.assert_close(student(permuted), student(grid)[order], rtol=1e-4, atol=1e-5)


@pytest.mark.needs_sparse_conv
@torch.no_grad()
def test_a_batch_of_two_equals_each_alone(student):
    both = make_grid(torch.cat([random_cells((9, 21, 5), 200), random_cells((18, 4, 6), 150, batch=1)]))
    found = student(both)
    for cloud, rows in enumerate((slice(0, 200), slice(200, 350))):
        cells = both.coords[rows] - torch.tensor([cloud, 0, 0, 0])
        index = torch.arange(len(cells))
        alone = student(VoxelGrid(both.features[rows], cells.int(), index, index, 1))
        torch.testing.assert_close(found[rows], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('extent', [(17, 5, 33), (1, 1, 3), (31, 15, 7), (16, 16, 16)])
def test_no_extent_loses_a_voxel_at_any_level(student, extent):
    count = min(120, extent[0] * extent[1] * extent[2])
    grid = make_grid(random_cells(extent, count))
    levels = []
    hooks = [stage.register_forward_hook(lambda *call: levels.append(call[-1].indices)) for stage in student.encoder]
    grid.features.requires_grad_()
    found = student(grid)
    for hook in hooks:
        hook.remove()
    for level, indices in enumerate(levels, start=1):
        expected = {(b, *(c >> level for c in cell)) for b, *cell in grid.coords.tolist()}
        assert sorted(map(tuple, indices.tolist())) == sorted(expected)
    (gradient,) = torch.autograd.grad((found * torch.randn_like(found)).sum(), grid.features)
    assert gradient.isfinite().all() and gradient.any(1).all()


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('form', ['student.pth', 'student.safetensors', 'epoch_1.pth', 'bare.pth'])
@torch.no_grad()
def test_saved_weights_give_the_same_features(student, tmp_path, form):
    state, path = student.state_dict(), tmp_path / form
    if form == 'student.safetensors':
        save_file(dict(state), path)
    elif form == 'epoch_1.pth':  # a training checkpoint
        other = {'projection_head.layers.0.weight': torch.zeros(3)}
        torch.save(dict(state_dict={**{f'student.{k}': v for k, v in state.items()}, **other}), path)
    else:
        torch.save(dict(meta={}, state_dict=state) if form == 'student.pth' else state, path)
    loaded = MinkUNetStudent(14, 16, student.arguments['variant'], weights=str(path)).eval()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    grid = make_grid(random_cells((9, 9, 9), 200))
    assert torch.equal(loaded(grid), student(grid))


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize(
    'options, message',
    [
        (dict(width=32), 'of another shape'),
        (dict(in_channels=3), '1 of another shape'),
        (dict(depth=18), 'missing'),
        (dict(variant='mmdet3d'), 'of another shape'),
    ],
)
def test_weights_of_another_student_are_refused(tmp_path, options, message):
    torch.save(MinkUNetStudent(14, 16).state_dict(), tmp_path / 'student.pth')
    with pytest.raises(InputError, match=f'{message}(?s:.*)remedy: build the student'):
        MinkUNetStudent(**{**dict(depth=14, width=16, weights=str(tmp_path / 'student.pth')), **options})


@pytest.mark.parametrize('options', [dict(depth=50), dict(variant='minkowski'), dict(backend='torchsparse')])
def test_unknown_options_are_refused(options):
    with pytest.raises(InputError, match=r'(?s)expected: one of.*remedy'):
        MinkUNetStudent(**options)


@pytest.mark.needs_sparse_conv
@torch.no_grad()
def test_a_deep_copy_is_independent_and_equal(student):
    grid = make_grid(random_cells((9, 9, 9), 200))
    twin = copy.deepcopy(student)
    assert torch.equal(twin(grid), student(grid))
    next(twin.parameters()).add_(1)
    assert not torch.equal(twin(grid), student(grid))


@pytest.mark.needs_sparse_conv
def test_checkpointing_runs_the_blocks_twice_and_changes_no_number():
    plain = make_student().train()
    saving = copy.deepcopy(plain)
    saving.checkpointing = True
    grid, runs = make_grid(random_cells((20, 20, 4), 300)), []
    saving.decoder[-1].register_forward_pre_hook(lambda *_: runs.append(1))
    features = [student(grid) for student in (plain, saving)]
    for each in features:
        each.square().sum().backward()
    assert len(runs) == 2 and torch.equal(*features)
    for ours, theirs in zip(saving.parameters(), plain.parameters()):
        assert torch.equal(ours.grad, theirs.grad)
    for name, value in plain.state_dict().items():  # running statistics too
        assert torch.equal(saving.state_dict()[name], value)
