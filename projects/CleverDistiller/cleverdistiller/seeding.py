"""Randomness that depends on (seed, epoch, sample), not on workers, ranks or interruptions."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_everything(*parts: int) -> None:
    """Seed Python, numpy and torch from a tuple of numbers; every tuple gives another stream."""
    torch.cuda.manual_seed_all(_seed_cpu(parts))  # remembered until CUDA starts, ignored without it


@contextmanager
def isolated_seed(*parts: int) -> Iterator[None]:
    """Seed everything inside the block and put the CPU generators back afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        _seed_cpu(parts)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _seed_cpu(parts: tuple[int, ...]) -> int:
    words = [int(word) for word in np.random.SeedSequence(parts).generate_state(3)]
    random.seed(words[0])
    np.random.seed(words[1])
    torch.random.default_generator.manual_seed(words[2])  # unlike torch.manual_seed: never touches CUDA
    return words[2]
