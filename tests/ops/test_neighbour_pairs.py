import itertools

import pytest
import torch

from cleverdistiller.errors import InputError
from cleverdistiller.ops.neighbour_pairs import strided_pairs, submanifold_pairs
from cleverdistiller.ops.sparse_conv import load_backend


@pytest.fixture
def coords() -> torch.Tensor:
    cells = torch.unique(torch.randint(0, 6, (150, 3)) + torch.tensor([0, 900, 0]), dim=0)
    return torch.cat([torch.randint(0, 2, (len(cells), 1)), cells], 1)[torch.randperm(len(cells))].int()


def rows(pairs, count, tap) -> set:
    assert (pairs[:, tap, count[tap] :] == -1).all()
    return set(map(tuple, pairs[:, tap, : count[tap]].T.tolist()))


@pytest.mark.parametrize('kernel', [[3, 3, 3], [5, 5, 5], [1, 3, 5]])
def test_submanifold_pairs_equal_a_loop(coords, kernel):
    pairs, count = submanifold_pairs(coords, kernel)
    where = {tuple(cell): row for row, cell in enumerate(coords.tolist())}
    for tap, offset in enumerate(itertools.product(*(range(-(k // 2), k // 2 + 1) for k in kernel))):
        expected = set()
        for (b, x, y, z), out in where.items():
            seen = where.get((b, x + offset[0], y + offset[1], z + offset[2]))
            if seen is not None and offset != (0, 0, 0):
                expected.add((seen, out))
        assert rows(pairs, count, tap) == expected


def test_strided_pairs_equal_a_loop(coords):
    coarse, pairs, count = strided_pairs(coords, [2, 2, 2])
    cells = list(map(tuple, coarse.tolist()))
    assert len(set(cells)) == len(cells) and int(count.sum()) == len(coords)
    for tap, (i, j, k) in enumerate(itertools.product(range(2), repeat=3)):
        expected = {
            (row, cells.index((b, x // 2, y // 2, z // 2)))
            for row, (b, x, y, z) in enumerate(coords.tolist())
            if (x % 2, y % 2, z % 2) == (i, j, k)
        }
        assert rows(pairs, count, tap) == expected


@pytest.mark.needs_sparse_conv
def test_other_convolutions_on_such_a_grid_are_refused(coords):
    lib = load_backend().module
    conv = lib.SparseConv3d(4, 4, 3, stride=2, padding=1, algo=lib.ConvAlgo.Native)
    with pytest.raises(InputError, match='2\\^31'):
        conv(lib.SparseConvTensor(torch.rand(len(coords), 4), coords, [4096] * 3, 2))


@pytest.mark.needs_sparse_conv
def test_a_large_cloud_has_the_pairs_of_spconv_s_own_table():
    load_backend()
    from spconv.core import ConvAlgo
    from spconv.pytorch import ops

    cells = torch.randperm(64**3)[:70_000]  # rows in no order
    coords = torch.stack([cells % 2, cells // 4096, cells // 64 % 64, cells % 64], 1).int()
    # batch 2, kernel 3, stride 1, padding 1, dilation 1, no output padding, submanifold
    arguments = coords, 2, [64] * 3, ConvAlgo.Native, [3] * 3, [1] * 3, [1] * 3, [1] * 3, [0] * 3, True
    _, pairs, count = ops.get_indice_pairs(*arguments)
    _, expected_pairs, expected_count = ops.stock_functions[1](*arguments)
    # spconv counts half of the taps, the others being their mirror images; neither looks the centre up.
    assert torch.equal(count[:13], expected_count[:13]) and int(count.sum()) > 70_000
    for tap in (*range(13), *range(14, 27)):
        assert rows(pairs, count, tap) == set(map(tuple, expected_pairs[:, tap, : count[tap]].T.tolist()))
