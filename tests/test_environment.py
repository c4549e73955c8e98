"""Tests are skipped for want of a package only where the installed stack is known to lack it."""

import importlib.util

import pytest
import torch

from conftest import LACKING, REPO

OPTIONAL = ('tensorflow', 'waymo_open_dataset')  # of the tests that call pytest.importorskip
MAY_LACK = dict(reference=set(), modern={'needs_mmcv_ops', 'needs_sparse_conv', *OPTIONAL})


def test_nothing_is_skipped_but_what_the_stack_lacks():
    release = torch.__version__.split('+')[0]
    stacks = [
        stack for stack in MAY_LACK if f'torch=={release}\n' in (REPO / 'requirements' / f'{stack}.txt').read_text()
    ]
    if not stacks:
        pytest.skip(f'torch {release} belongs to neither stack')
    absent = {name for name in OPTIONAL if not importlib.util.find_spec(name)}
    assert LACKING.keys() | absent <= MAY_LACK[stacks[0]]
