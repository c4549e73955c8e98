import copy
import json
from itertools import product
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner.checkpoint import load_state_dict
from safetensors.torch import save_file
from timm.layers import DropPath
from torch import nn

from cleverdistiller.errors import InputError
from cleverdistiller.models.students import PointTransformerV3Student
from cleverdistiller.models.students._point_transformer_parts import Block, GridPooling, GridUnpooling
from cleverdistiller.models.students._serialized_attention import SerializedLevel, patch_attention
from cleverdistiller.ops.serialization import CURVES, curve_codes, cut_into_patches, hilbert_code, z_order_code
from cleverdistiller.ops.sparse_conv import load_backend
from cleverdistiller.ops.voxelize import voxelize
from cleverdistiller.structures import VoxelGrid
from conftest import REPO

SMALL = dict(
    channels=(16, 32, 16),
    depths=(1, 4, 1),
    decoder_channels=(32, 16),
    decoder_depths=(1, 2),
    head_channels=8,
    patch_size=8,
)


def make_grid(sizes: list[int], extent: int = 5) -> VoxelGrid:
    """Different cells with made-up features, the rows of all clouds in one muddle."""
    cells = torch.cartesian_prod(*[torch.arange(extent)] * 3)
    clouds = [F.pad(cells[torch.randperm(len(cells))[:size]], (1, 0), value=b) for b, size in enumerate(sizes)]
    coords = torch.cat(clouds)[torch.randperm(sum(sizes))]
    rows = torch.arange(len(coords))
    return VoxelGrid(torch.randn(len(coords), 4), coords.int(), rows, rows, len(sizes))


def make_student(**options) -> PointTransformerV3Student:
    """In eval mode, with biases, norms and statistics that matter."""
    torch.manual_seed(1)
    student = PointTransformerV3Student(**{**SMALL, **options})
    for name, parameter in student.named_parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, float('norm' in name and 'weight' in name), 0.2)
    for norm in (layer for layer in student.modules() if isinstance(layer, nn.BatchNorm1d)):
        nn.init.normal_(norm.running_mean, 0, 0.2)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return student.eval()


@pytest.fixture(scope='module')
def student():
    return make_student()


def slow_patches(coords: torch.Tensor, curve: str, level: int, patch_size: int) -> list[tuple[int, list[int]]]:
    """Each row and the rows that it attends to; the curve's own functions are proven elsewhere."""
    cells = coords[:, [2, 1, 3] if 'trans' in curve else [1, 2, 3]].long()
    codes = hilbert_code(cells, 16 - level) if 'hilbert' in curve else z_order_code(cells)
    found = []
    for batch in coords[:, 0].unique():
        order = sorted(torch.nonzero(coords[:, 0] == batch)[:, 0].tolist(), key=lambda row: codes[row])
        for place, row in enumerate(order):
            start = min(place // patch_size * patch_size, max(len(order) - patch_size, 0))
            found.append((row, order[start : start + patch_size]))
    return found


def slow_attention(qkv: torch.Tensor, patches: list[tuple[int, list[int]]], num_heads: int) -> torch.Tensor:
    """One voxel and head at a time."""
    queries, keys, values = (part.chunk(num_heads, 1) for part in qkv.chunk(3, 1))
    out = [None] * len(qkv)
    for row, others in patches:
        heads = []
        for q, k, v in zip(queries, keys, values):
            scores = torch.stack([(q[row] * k[other]).sum() for other in others]) / q.shape[1] ** 0.5
            heads.append(sum(weight * v[other] for weight, other in zip(scores.softmax(0), others)))
        out[row] = torch.cat(heads)
    return torch.stack(out)


def slow_convolution(layer, rows: torch.Tensor, coords: torch.Tensor) -> torch.Tensor:
    """One voxel and tap at a time."""
    reach = layer.weight.shape[1] // 2
    row_of = {tuple(cell): row for row, cell in enumerate(coords.tolist())}
    out = []
    for b, x, y, z in coords.tolist():
        total = rows.new_zeros(len(layer.weight))
        for i, j, k in product(range(-reach, reach + 1), repeat=3):
            neighbour = row_of.get((b, x + i, y + j, z + k))
            if neighbour is not None:
                total = total + layer.weight[:, i + reach, j + reach, k + reach] @ rows[neighbour]
        out.append(total)
    return torch.stack(out)


def slow_student(student: PointTransformerV3Student, grid: VoxelGrid) -> torch.Tensor:
    """The same network with loops for whatever is not one layer of torch."""

    def run(blocks, rows, coords, level, first_sees=None):
        for i, block in enumerate(blocks):
            seen = first_sees if i == 0 and first_sees is not None else rows
            rows = rows + block.cpe(slow_convolution(block.cpe_conv, seen, coords) + block.cpe_bias)
            patches = slow_patches(coords, tuple(CURVES)[i % 4], level, student.patch_size)
            attended = slow_attention(block.attention.qkv(block.norm1(rows)), patches, block.attention.num_heads)
            rows = rows + block.attention.proj(attended)
            rows = rows + block.mlp(block.norm2(rows))
        return rows

    stem, norm, gelu = student.embedding.children()
    coords = grid.coords
    rows = run(student.encoder_blocks[0], gelu(norm(slow_convolution(stem, grid.features, coords))), coords, 0)
    skips = []
    for level, (pool, blocks) in enumerate(zip(student.pools, student.encoder_blocks[1:]), start=1):
        children = {}
        for row, (b, x, y, z) in enumerate(coords.tolist()):
            children.setdefault((b, x // 2, y // 2, z // 2), []).append(row)
        skips.append((rows, coords, children))
        coords = torch.tensor(list(children), dtype=torch.int32)
        projected = pool.proj(rows)
        rows = pool.norm(torch.stack([projected[of_one].max(0).values for of_one in children.values()]))
        rows = run(blocks, rows, coords, level)
    for unpool, blocks in zip(student.unpools, student.decoder_blocks):
        skip, coords, children = skips.pop()
        parents = unpool.proj(rows)
        given = {child: parents[parent] for parent, of_one in enumerate(children.values()) for child in of_one}
        own = unpool.proj_skip(skip)
        rows = own + torch.stack([given[row] for row in range(len(skip))])
        rows = run(blocks, rows, coords, len(skips), None if student.arguments['unpooling'] == 'sum' else own)
    return rows


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('unpooling', ['pointcept', 'sum'])
def test_the_network_and_its_gradient_equal_a_slow_twin(unpooling):
    student = make_student(unpooling=unpooling)
    grid = make_grid([30, 5, 8])
    grid.features.requires_grad_()
    found, expected = student(grid), slow_student(student, grid)
    assert found.shape == (43, 32) and found.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    wanted = torch.randn_like(found)
    gradients = [torch.autograd.grad((out * wanted).sum(), grid.features)[0] for out in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    assert gradients[0].any(1).all()


class TwoFoldPoints(dict):
    """What Pointcept's modules hand on: ``feat``, and ``sparse_conv_feat``, which should hold the same and may not."""

    def through(self, layer) -> None:
        """A layer of torch writes both; a sparse convolution reads and writes the second and copies it to the first."""
        if isinstance(layer, load_backend('auto').module.SubMConv3d):
            self['sparse_conv_feat'] = layer(self['sparse_conv_feat'])
            self['feat'] = self['sparse_conv_feat'].features
        else:
            self['feat'] = layer(self['feat'])
            self['sparse_conv_feat'] = self['sparse_conv_feat'].replace_feature(self['feat'])


def pointcept_decoder(student, points: TwoFoldPoints, skips: list[tuple[TwoFoldPoints, SerializedLevel, torch.Tensor]]):
    """Pointcept's decoder on the student's weights: a sum is written to ``feat`` alone, at a block's end to both."""
    for unpool, blocks in zip(student.unpools, student.decoder_blocks):
        below, (points, level, parent) = points, skips.pop()
        for layer in unpool.proj:
            below.through(layer)
        for layer in unpool.proj_skip:
            points.through(layer)
        points['feat'] = points['feat'] + below['feat'][parent]
        for block in blocks:
            shortcut = points['feat']
            points.through(block.cpe_conv)
            points['feat'] = points['feat'] + block.cpe_bias  # a part of Pointcept's convolution
            for layer in block.cpe:
                points.through(layer)
            points['feat'] = shortcut = shortcut + points['feat']
            points.through(block.norm1)
            points['feat'] = block.attention(points['feat'], level)
            points['feat'] = shortcut = shortcut + points['feat']
            points.through(block.norm2)
            points.through(block.mlp)
            points['feat'] = shortcut + points['feat']
            points['sparse_conv_feat'] = points['sparse_conv_feat'].replace_feature(points['feat'])
    return points['feat']


@pytest.mark.needs_sparse_conv
@torch.no_grad()
@pytest.mark.parametrize('decoder_depths', [(1, 2), (2, 3)])
def test_the_decoder_equals_pointcepts_whose_sparse_tensor_is_stale_after_unpooling(decoder_depths):
    options = dict(decoder_depths=decoder_depths)
    student, grid = make_student(**options), make_grid([90, 30, 11], extent=9)
    encoded = []  # what enters each way up: the deepest level's features, and each skip

    def keep(unpool, inputs):
        encoded.append(inputs)

    for unpool in student.unpools:
        unpool.register_forward_pre_hook(keep)
    found = student(grid)
    level, skips = SerializedLevel.of(grid.coords, student.curves, 3, student.patch_size, shuffle=False), []
    for _, skip, parent in reversed(encoded):
        sparse = student._sparse(skip, level)
        skips.append((TwoFoldPoints(feat=skip, sparse_conv_feat=sparse), level, parent))
        level = level.coarser(shuffle=False)[0]
    deepest = encoded[0][0]
    points = TwoFoldPoints(feat=deepest, sparse_conv_feat=student._sparse(deepest, level))
    expected = pointcept_decoder(student, points, skips)
    assert (found - expected).norm() < 1e-6 * expected.norm()
    summed = make_student(unpooling='sum', **options)
    assert all(map(torch.equal, summed.parameters(), student.parameters()))
    assert (summed(grid) - expected).norm() > 1e-3 * expected.norm()


@pytest.mark.parametrize('curve', CURVES)
@pytest.mark.parametrize('sizes', [[21], [3, 8, 19], [7, 5]])
def test_attention_and_its_gradient_equal_a_loop_over_voxels(curve, sizes):
    coords = make_grid(sizes, 4).coords
    (patches,) = cut_into_patches(curve_codes(coords, [curve]), sizes, patch_size=8)
    qkv = torch.randn(sum(sizes), 3 * 12, requires_grad=True)
    found = patch_attention(qkv, patches, num_heads=3)
    expected = slow_attention(qkv, slow_patches(coords, curve, 0, 8), num_heads=3)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    wanted = torch.randn_like(found)
    torch.testing.assert_close(
        *(torch.autograd.grad((out * wanted).sum(), qkv)[0] for out in (found, expected)), rtol=1e-4, atol=1e-5
    )


def test_pooling_takes_the_largest_child_and_gives_it_the_gradient():
    pool = GridPooling(3, 3).eval()
    nn.init.eye_(pool.proj.weight), nn.init.zeros_(pool.proj.bias)
    features = torch.tensor([[1.0, -2, 0], [3, -1, -5], [2, -3, -5]], requires_grad=True)
    pooled = pool(features, torch.tensor([1, 0, 1]), 2)
    torch.testing.assert_close(pooled, pool.norm(torch.tensor([[3.0, -1, -5], [2, -2, 0]])))
    pool.norm = nn.Identity()
    pool(features, torch.tensor([1, 0, 1]), 2).sum().backward()
    assert features.grad.tolist() == [[0, 1, 1], [1, 1, 1], [1, 0, 0]]


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize(
    'decoder_channels, millions',
    [((64, 64, 128, 256), 46.16), ((256, 256, 256, 256), 60.13), ((256, 64, 128, 256), 51.10)],
)
def test_it_has_the_published_size(decoder_channels, millions):
    with torch.device('meta'):
        student = PointTransformerV3Student(decoder_channels=decoder_channels)
    assert round(sum(p.numel() for p in student.parameters()) / 1e6, 2) == millions
    assert student.out_channels == decoder_channels[0]
    norms = [layer for layer in student.modules() if isinstance(layer, nn.BatchNorm1d)]
    assert len(norms) == 1 + 4 + 8 and {(layer.eps, layer.momentum) for layer in norms} == {(1e-3, 0.01)}


@pytest.mark.needs_sparse_conv
def test_the_default_is_the_wide_decoder_with_heads_of_16_channels():
    with torch.device('meta'):
        student = PointTransformerV3Student()
    heads = [
        [blocks[0].attention.num_heads for blocks in part] for part in (student.encoder_blocks, student.decoder_blocks)
    ]
    assert heads == [[2, 4, 8, 16, 32], [16, 16, 16, 16]]
    rates = [layer.drop_prob for layer in student.modules() if isinstance(layer, DropPath)]
    assert rates[:14] == pytest.approx([0.3 * i / 13 for i in range(14)])
    assert rates[14:] == pytest.approx([0.3 * i / 7 for i in reversed(range(8))])


@pytest.mark.needs_sparse_conv
@torch.no_grad()
def test_in_eval_neither_the_order_of_rows_nor_other_clouds_matter(student):
    grid = make_grid([90, 30, 11], extent=9)
    found = student(grid)
    order = torch.randperm(len(grid))
    rows = torch.arange(len(grid))
    permuted = VoxelGrid(grid.features[order], grid.coords[order], rows, rows, 3)
    torch.testing.assert_close(student(permuted), found[order], rtol=1e-4, atol=1e-5)
    for cloud in range(3):
        mine = grid.coords[:, 0] == cloud
        rows = torch.arange(int(mine.sum()))
        coords = grid.coords[mine] * torch.tensor([0, 1, 1, 1], dtype=torch.int32)
        alone = student(VoxelGrid(grid.features[mine], coords, rows, rows, 1))
        torch.testing.assert_close(found[mine], alone, rtol=1e-4, atol=1e-5)


def one_step(student: PointTransformerV3Student, grid: VoxelGrid) -> list[torch.Tensor]:
    student.zero_grad()
    torch.manual_seed(3)
    out = student(grid)
    (out * torch.randn_like(out)).sum().backward()
    return [out.detach(), *(parameter.grad.clone() for parameter in student.parameters())]


@pytest.mark.needs_sparse_conv
def test_a_training_step_is_finite_reaches_every_parameter_and_repeats_bit_for_bit():
    student, grid = make_student().train(), make_grid([300, 200], extent=9)
    first, second = one_step(copy.deepcopy(student), grid), one_step(student, grid)
    for (name, _), gradient in zip(student.named_parameters(), first[1:]):
        assert gradient.isfinite().all() and gradient.any(), name
    assert all(map(torch.equal, first, second))


@pytest.mark.needs_sparse_conv
@torch.no_grad()
def test_training_draws_which_curve_comes_first_and_eval_does_not():
    student, grid = make_student(drop_path=0.0), make_grid([120], extent=9)
    assert torch.equal(student(grid), student(grid))
    for norm in (layer for layer in student.train().modules() if isinstance(layer, nn.BatchNorm1d)):
        norm.eval()
    assert len({student(grid).sum().item() for _ in range(6)}) > 1


@pytest.mark.needs_sparse_conv
@torch.no_grad()
def test_the_tap_before_the_last_gives_children_of_one_parent_the_same(student):
    grid = make_grid([100, 60], extent=7)
    taps = student.forward_taps(grid, ('last', 'stride_2'))
    assert {name: rows.shape[1] for name, rows in taps.items()} == student.tap_channels == dict(last=32, stride_2=16)
    assert torch.equal(taps['last'], student(grid))
    cells = grid.coords.clone()
    cells[:, 1:] //= 2
    parents, parent = cells.unique(dim=0, return_inverse=True)
    distinct = taps['stride_2'].unique(dim=0)
    assert len(distinct) == len(parents) < len(grid)
    for row in range(len(parents)):
        assert (taps['stride_2'][parent == row] == taps['stride_2'][parent == row][0]).all()


class HalfConvolution(nn.Module):
    """As spconv on a GPU under autocast, which has no such kernels for a CPU: half precision comes out."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, x):
        assert x.features.dtype == torch.float32
        return x.replace_feature(x.features.bfloat16())


@pytest.mark.needs_sparse_conv
@torch.no_grad()
def test_under_autocast_the_sum_of_the_blocks_stays_in_float32(student):
    library = SimpleNamespace(SubMConv3d=HalfConvolution)
    blocks = [Block(library, 16, 2, 4.0, 0.0, curve, 'key').eval() for curve in (0, 1)]
    pool, unpool = GridPooling(16, 32).eval(), GridUnpooling(32, 16, 8).eval()
    grid = make_grid([80, 5], extent=9)
    level = SerializedLevel.of(grid.coords, ('z', 'hilbert'), 2, 8, shuffle=False)
    larger, parent = level.coarser(shuffle=False)

    def run(rows):
        x = student._sparse(rows, level)
        for block in blocks:
            x = block(x, level)
        pooled = pool(x.features, parent, len(larger.coords))
        return x.features, pooled, *unpool(pooled, x.features, parent)

    features = torch.randn(85, 16)
    exact = run(features)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rough = run(features.bfloat16())
    assert [rows.dtype for rows in rough] == [torch.float32, torch.bfloat16, torch.bfloat16, torch.bfloat16]
    for one, other in zip(exact, rough):
        assert 0 < (one - other).norm() < 0.03 * one.norm()


@pytest.mark.needs_sparse_conv
@torch.no_grad()
def test_saved_weights_give_the_same_features_and_another_size_is_refused(student, tmp_path):
    path = tmp_path / 'student.pth'
    torch.save(student.state_dict(), path)
    arguments = json.loads(json.dumps(student.arguments))  # as an exported student's metadata keeps them
    assert arguments == student.arguments
    loaded = MODELS.build(dict(type='PointTransformerV3Student', weights=str(path), **arguments)).eval()
    grid = make_grid([60])
    assert torch.equal(loaded(grid), student(grid))
    with pytest.raises(InputError, match=r'of another shape(?s:.*)remedy: build the student'):
        make_student(weights=str(path), decoder_channels=(16, 16))
    twin = copy.deepcopy(student)
    next(twin.parameters()).add_(1)
    assert not torch.equal(twin(grid), student(grid))


def write_files(folder, student, arguments) -> list[str]:
    """A student in both forms of an export, as its bare state dict, and inside a pretraining's checkpoint."""
    meta = dict(student=json.dumps(dict(type='PointTransformerV3Student', **arguments)), voxel_size_m='0.05')
    state = student.state_dict()
    save_file(dict(state), folder / 'student.safetensors', metadata=meta)
    torch.save(dict(meta=meta, state_dict=state), folder / 'student.pth')
    torch.save(state, folder / 'bare.pth')
    trained = nn.ModuleDict(dict(student=student, head=nn.Linear(2, 2)))
    torch.save(dict(meta=dict(epoch=1), state_dict=trained.state_dict()), folder / 'epoch_1.pth')
    for name, inner in (('wrapped', student), ('epoch_2', trained)):  # DistributedDataParallel around torch.compile
        wrapped = nn.ModuleDict(dict(module=nn.ModuleDict(dict(_orig_mod=inner))))
        torch.save(dict(state_dict=wrapped.state_dict()), folder / f'{name}.pth')
    files = ('student.safetensors', 'student.pth', 'bare.pth', 'epoch_1.pth', 'wrapped.pth', 'epoch_2.pth')
    return [str(folder / name) for name in files]


@pytest.mark.needs_sparse_conv
@torch.no_grad()
def test_files_from_before_the_option_are_loaded_as_what_they_are_or_refused(tmp_path):
    old, grid = make_student(unpooling='sum'), make_grid([60])
    arguments = {key: value for key, value in old.arguments.items() if key != 'unpooling'}
    for path in write_files(tmp_path, old, arguments):
        loaded = make_student(unpooling='sum', weights=path)
        assert torch.equal(loaded(grid), old(grid)), path
        with pytest.raises(
            InputError, match=r'unpooling=sum(?s:.*)unpooling=pointcept(?s:.*)say student.unpooling=sum'
        ):
            make_student(weights=path)
    new = make_student()
    for path in write_files(tmp_path, new, new.arguments):
        assert torch.equal(make_student(weights=path)(grid), new(grid)), path
        with pytest.raises(InputError, match=r'say student.unpooling=pointcept'):
            make_student(unpooling='sum', weights=path)
    save_file(dict(old.state_dict()), tmp_path / 'foreign.safetensors')  # converted from elsewhere: says nothing
    make_student(weights=str(tmp_path / 'foreign.safetensors'))


@pytest.mark.needs_sparse_conv
def test_an_old_run_is_not_resumed_or_tested_with_the_new_default():
    old, new = (nn.ModuleDict(dict(backbone=make_student(unpooling=unpooling))) for unpooling in ('sum', 'pointcept'))
    state = old.state_dict()
    assert state._metadata['backbone']['version'] == 1  # as of every module that never said another
    for load in (new.load_state_dict, lambda state: load_state_dict(new, state)):  # torch's and mmengine's
        with pytest.raises(InputError, match=r'--cfg-options model.backbone.unpooling=sum'):
            load(state)
    load_state_dict(old, state, strict=True)
    with pytest.raises(InputError, match=r'--cfg-options model.backbone.unpooling=pointcept'):
        load_state_dict(old, copy.deepcopy(new).state_dict())


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(unpooling='skip'), 'unpooling(?s:.*)pointcept or sum'),
        (dict(depths=(1, 1)), 'depths(?s:.*)3 numbers'),
        (dict(decoder_channels=(16, 16, 16)), 'decoder_channels(?s:.*)2 numbers'),
        (dict(decoder_depths=(1,)), 'decoder_depths(?s:.*)2 numbers'),
        (dict(channels=(16, 20, 16)), 'with 20(?s:.*)multiples of'),
        (dict(curves=('z', 'peano')), 'peano(?s:.*)hilbert-trans'),
        (dict(curves=()), 'curves(?s:.*)some of z'),
        (dict(backend='torchsparse'), 'torchsparse'),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=f'{message}(?s:.*)remedy'):
        PointTransformerV3Student(**{**SMALL, **options})


@pytest.mark.needs_sparse_conv
def test_a_grid_that_is_too_long_is_refused(student):
    grid = make_grid([30])
    grid.coords[3, 1] = 2**16
    with pytest.raises(InputError, match=r'to cell 65536(?s:.*)remedy: drop points'):
        student(grid)


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('bad', [float('nan'), -float('inf')])
def test_features_that_are_no_number_are_refused(student, bad):
    points = torch.rand(30, 4)
    points[7, 3] = bad  # a place that is nowhere has no cell
    grid = voxelize(points, torch.zeros(30, dtype=torch.int64), 1, 0.05, random_representative=False)
    with pytest.raises(InputError, match=r'1 of \d+ voxels(?s:.*)remedy: drop such points'):
        student(grid)


@pytest.mark.needs_sparse_conv
def test_the_schedule_lets_blocks_learn_at_a_tenth_of_the_rate():
    cfg = Config.fromfile(REPO / 'configs/_base_/schedules/onecycle_ptv3_100e.py')
    model = nn.ModuleDict(dict(student=make_student(), decode_head=nn.Linear(2, 2)))
    options = {key: cfg.optim_wrapper[key] for key in ('optimizer', 'paramwise_cfg')}
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', **options))
    rates = {parameter: group['lr'] for group in wrapper.param_groups for parameter in group['params']}
    for name, parameter in model.named_parameters():
        is_in_block = name.startswith(('student.encoder_blocks', 'student.decoder_blocks'))
        assert rates[parameter] == pytest.approx(0.0002 if is_in_block else 0.002), name
