"""Freed memory costs no page faults when it is used again, old shapes are forgotten, the user's settings stay."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from cleverdistiller.compat import cpu_memory
from cleverdistiller.compat.cpu_memory import ONEDNN_PRIMITIVES, tune_cpu_memory

FAULTS_OF_A_TENSOR = """
import resource
faults = []
for _ in range(8):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(faults))  # it does not lie in the same place every time
"""
PAGES = 64 * 2**20 // os.sysconf('SC_PAGE_SIZE')
SHAPES_COME_AND_ONE_COMES_AGAIN = """
for size in [*range(1000, 1100), 1000]:
    torch.nn.functional.gelu(torch.ones(size, 8))
"""
needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another C library')
ONEDNN = 'ONEDNN_PRIMITIVE_CACHE_CAPACITY'


def settings() -> set[str]:
    """What the environment of the tests says about memory."""
    return {
        name
        for name in os.environ
        if name.startswith('MALLOC_') or name in ('GLIBC_TUNABLES', ONEDNN, 'DNNL_PRIMITIVE_CACHE_CAPACITY')
    }


def said_by(script: str, **environment) -> str:
    """What a tuned process without a GPU prints."""
    start = 'import torch\nfrom cleverdistiller.compat import tune_cpu_memory\ntune_cpu_memory()\n'
    cleared = {name: value for name, value in os.environ.items() if name not in settings()}
    ran = subprocess.run(
        [sys.executable, '-c', start + script],
        capture_output=True,
        text=True,
        env=cleared | dict(OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='') | environment,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@needs_glibc
def test_a_large_tensor_finds_the_pages_of_the_last_one():
    assert int(said_by(FAULTS_OF_A_TENSOR)) < PAGES / 100


@needs_glibc
def test_with_glibcs_own_settings_the_system_maps_its_pages_anew():
    own = dict(MALLOC_PERTURB_='0', GLIBC_TUNABLES='glibc.malloc.hugetlb=0')
    assert int(said_by(FAULTS_OF_A_TENSOR, **own)) > PAGES / 1000  # fewer than pages where the system has huge ones


@pytest.mark.parametrize('environment, last', [({}, 'cache_miss'), ({ONEDNN: '1024'}, 'cache_hit')])
def test_kernels_of_old_shapes_are_kept_only_if_the_user_says_so(environment, last):
    told = said_by(SHAPES_COME_AND_ONE_COMES_AGAIN, ONEDNN_VERBOSE='2', **environment)
    created = [line for line in told.splitlines() if ',create:' in line]
    if not created:
        pytest.skip('this torch computes GELU without oneDNN')
    assert len(created) == 101 and f':{last},' in created[-1]


@pytest.fixture
def mallopt(monkeypatch):
    """In the place of glibc's, which would change the process of the tests."""
    calls = []

    class Library:
        def mallopt(self, name, value):
            calls.append((name, value))

    monkeypatch.setattr(cpu_memory.ctypes, 'CDLL', lambda name: Library())
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('glibc', '2.36'))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for name in settings():
        monkeypatch.delenv(name)
    return calls


@pytest.mark.parametrize(
    'name, value', [('MALLOC_TRIM_THRESHOLD_', '262144'), ('GLIBC_TUNABLES', 'glibc.malloc.mmap_max=7')]
)
def test_the_users_own_settings_of_malloc_stay(mallopt, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    tune_cpu_memory()
    assert not mallopt and os.environ[ONEDNN] == ONEDNN_PRIMITIVES


def test_tunables_of_other_parts_of_glibc_are_none_of_malloc(mallopt, monkeypatch):
    monkeypatch.setenv('GLIBC_TUNABLES', 'glibc.cpu.x86_ibt=on')
    tune_cpu_memory()
    assert mallopt == [(-4, 0), (-1, -1)]


def test_another_c_library_is_left_alone(mallopt, monkeypatch):
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('', ''))
    tune_cpu_memory()
    assert not mallopt


def test_nothing_changes_with_a_gpu(mallopt, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    tune_cpu_memory()
    assert not mallopt and ONEDNN not in os.environ
