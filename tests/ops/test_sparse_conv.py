import pytest
import torch
import torch.nn.functional as F

from cleverdistiller.errors import InputError
from cleverdistiller.ops import sparse_conv
from cleverdistiller.ops.sparse_conv import dense_weight, load_backend, use_algorithm_for

SIZE = 8


@pytest.fixture
def lib():
    return load_backend().module


def random_cloud(channels: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Features that want a gradient and contiguous cells of a batch of two."""
    occupied = torch.rand(2, SIZE, SIZE, SIZE) < 0.3
    coords = occupied.nonzero().int().contiguous()
    return torch.randn(len(coords), channels, requires_grad=True), coords


def to_dense(features: torch.Tensor, coords: torch.Tensor, size: int = SIZE) -> torch.Tensor:
    dense = features.new_zeros(2, size, size, size, features.shape[1])
    dense = dense.index_put(tuple(coords.long().T), features)
    return dense.permute(0, 4, 1, 2, 3)


def at(dense: torch.Tensor, coords: torch.Tensor) -> torch.Tensor:
    b, x, y, z = coords.long().T
    return dense[b, :, x, y, z]


def assert_same_with_gradients(found, expected, inputs):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(found)
    ours = torch.autograd.grad((found * weight).sum(), inputs, retain_graph=True)
    theirs = torch.autograd.grad((expected * weight).sum(), inputs, retain_graph=True)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('kernel', [3, 5])
def test_submanifold_equals_masked_dense_convolution(lib, kernel):
    features, coords = random_cloud()
    conv = lib.SubMConv3d(4, 6, kernel, bias=False, indice_key='k')
    use_algorithm_for(conv, features.device)
    found = conv(lib.SparseConvTensor(features, coords, [SIZE] * 3, 2)).features
    dense = F.conv3d(to_dense(features, coords), dense_weight(conv), padding=kernel // 2)
    assert conv.weight.shape == (6, kernel, kernel, kernel, 4)
    assert_same_with_gradients(found, at(dense, coords), (features, conv.weight))


@pytest.mark.needs_sparse_conv
def test_strided_and_inverse_equal_dense_convolution_and_its_transpose(lib):
    features, coords = random_cloud()
    down = lib.SparseConv3d(4, 6, 2, stride=2, bias=False, indice_key='d')
    up = lib.SparseInverseConv3d(6, 5, 2, indice_key='d', bias=False)
    layers = torch.nn.ModuleList([down, up])
    use_algorithm_for(layers, features.device)
    coarse = down(lib.SparseConvTensor(features, coords, [SIZE] * 3, 2))
    dense = F.conv3d(to_dense(features, coords), dense_weight(down), stride=2)
    fine = up(coarse)
    assert_same_with_gradients(coarse.features, at(dense, coarse.indices), (features, down.weight))
    dense = F.conv_transpose3d(dense, dense_weight(up).transpose(0, 1), stride=2)
    order = {tuple(cell): row for row, cell in enumerate(coords.tolist())}
    assert sorted(order) == sorted(map(tuple, fine.indices.tolist()))
    assert_same_with_gradients(fine.features, at(dense, fine.indices), (features, down.weight, up.weight))


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize(
    'offset, shape',
    [
        ([3000, 2992, 96], [3008, 3008, 112]),  # 0.94 * 2^31 cells in the batch: spconv's own tables
        ([4000, 3900, 700], [4096, 4096, 1024]),  # 16 * 2^31: ours, stock spconv makes neighbours of distant cells
    ],
)
def test_far_cells_of_a_large_grid_give_what_near_ones_give(lib, offset, shape):
    features, coords = random_cloud()
    layers = torch.nn.ModuleList(
        [
            lib.SubMConv3d(4, 6, 5, bias=False, indice_key='a'),
            lib.SubMConv3d(6, 6, 3, bias=False, indice_key='b'),
            lib.SparseConv3d(6, 8, 2, stride=2, bias=False, indice_key='c'),
            lib.SparseInverseConv3d(8, 5, 2, indice_key='c', bias=False),
        ]
    )
    use_algorithm_for(layers, features.device)

    def run(cells, shape):
        x = lib.SparseConvTensor(features, cells, shape, 2)
        for layer in layers:
            x = layer(x)
        return x.features, *torch.autograd.grad(x.features.square().sum(), [features, *layers.parameters()])

    far = coords + torch.tensor([0, *offset], dtype=torch.int32)
    for found, expected in zip(run(far, shape), run(coords, [SIZE] * 3)):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.needs_sparse_conv
def test_two_runs_with_two_threads_are_bitwise_the_same(lib, two_threads):
    coords = torch.unique(torch.randint(0, 40, (20000, 3)), dim=0)
    coords = torch.cat([torch.zeros(len(coords), 1), coords], 1).int().contiguous()
    features = torch.randn(len(coords), 16, requires_grad=True)
    conv = lib.SubMConv3d(16, 16, 3, bias=False, indice_key='k')
    use_algorithm_for(conv, features.device)

    def run():
        out = conv(lib.SparseConvTensor(features, coords, [40] * 3, 1)).features
        return out, *torch.autograd.grad((out**2).sum(), (features, conv.weight))

    assert all(torch.equal(a, b) for a, b in zip(run(), run()))


@pytest.mark.needs_sparse_conv
def test_the_self_check_passes_here_and_sees_a_wrong_weight(monkeypatch):
    assert sparse_conv.largest_error_against_dense(load_backend(), torch.device('cpu')) < 1e-4
    monkeypatch.setattr(sparse_conv, 'dense_weight', lambda layer: layer.weight.permute(0, 4, 3, 2, 1))
    assert sparse_conv.largest_error_against_dense(load_backend(), torch.device('cpu')) > 1e-2


@pytest.mark.parametrize(
    'name, installed, expected',
    [
        ('minkowski', ('spconv', 'spconv_triton'), "'minkowski'.*one of auto.*student.backend"),
        ('spconv', (), 'spconv not installed.*pip install spconv-cu120'),
        ('spconv_triton', ('spconv',), 'spconv_triton not installed.*pip install'),
        ('spconv_triton', ('spconv', 'spconv_triton'), 'without a GPU.*pip install spconv-cu120'),
        ('auto', (), 'neither spconv nor spconv_triton.*pip install'),
        ('auto', ('spconv_triton',), 'without a GPU.*pip install spconv-cu120'),
    ],
)
def test_a_backend_that_cannot_be_had_comes_with_a_remedy(monkeypatch, name, installed, expected):
    monkeypatch.setattr(sparse_conv.importlib.util, 'find_spec', lambda module: module in installed or None)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    load_backend.cache_clear()  # it forgets errors, but may hold a success
    try:
        with pytest.raises(InputError, match=f'(?s){expected}'):
            load_backend(name)
    finally:
        load_backend.cache_clear()


@pytest.mark.needs_sparse_conv
def test_the_racy_cpu_only_build_is_refused(monkeypatch):
    monkeypatch.setattr('spconv.cppconstants.CPU_ONLY_BUILD', True)
    load_backend.cache_clear()
    try:
        with pytest.raises(InputError, match=r'spconv-cu120==2\.3\.6'):
            load_backend()
    finally:
        load_backend.cache_clear()
