import random

import numpy as np
import pytest
import torch

from cleverdistiller.seeding import isolated_seed, seed_everything


def draw() -> tuple:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_a_tuple_names_a_stream():
    seed_everything(1, 2, 3)
    first = draw()
    seed_everything(1, 2, 3)
    assert draw() == first
    for other in ((1, 2, 4), (1, 3, 3), (2, 2, 3), (1, 2)):
        seed_everything(*other)
        assert all(a != b for a, b in zip(draw(), first))


def test_the_isolated_block_leaves_no_trace():
    seed_everything(5)
    draw()
    expected = draw()
    seed_everything(5)
    draw()
    with isolated_seed(9, 1):
        inside = draw()
    assert draw() == expected
    with isolated_seed(9, 1):
        assert draw() == inside
    with isolated_seed(9, 2):
        assert all(a != b for a, b in zip(draw(), inside))


def test_a_failing_block_leaves_no_trace_either():
    seed_everything(5)
    expected = draw()
    seed_everything(5)
    with pytest.raises(RuntimeError), isolated_seed(9, 1):
        draw()
        raise RuntimeError
    assert draw() == expected
