"""Memory that is kept costs no page faults the second time; the user's own settings are left alone."""

import os
import platform
import subprocess
import sys

import pytest

from cleverdistiller.compat import malloc
from cleverdistiller.compat.malloc import keep_freed_memory

FAULTS_OF_A_TENSOR = """
import resource
import torch
from cleverdistiller.compat.malloc import keep_freed_memory

torch.set_num_threads(1)
kept = keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(kept, faults)
"""
PAGES = 64 * 2**20 // os.sysconf('SC_PAGE_SIZE')
glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another C library')


def faults_of_a_tensor(**environment) -> tuple[str, int]:
    """Whether memory is kept, and the pages that a tensor of 64 MiB asks the system for when it is made again."""
    said = subprocess.run(
        [sys.executable, '-c', FAULTS_OF_A_TENSOR], capture_output=True, text=True, env=os.environ | environment
    )
    assert said.returncode == 0, said.stderr
    kept, faults = said.stdout.split()
    return kept, int(faults)


@pytest.fixture
def mallopt(monkeypatch):
    """In the place of glibc's, which would change the process of the tests."""
    calls = []

    class Library:
        def mallopt(self, name, value):
            calls.append((name, value))
            return 1

    monkeypatch.setattr(malloc.ctypes, 'CDLL', lambda name: Library())
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('glibc', '2.36'))
    for name in [name for name in os.environ if name.startswith('MALLOC_') or name == 'GLIBC_TUNABLES']:
        monkeypatch.delenv(name)
    return calls


@glibc_only
def test_a_large_tensor_finds_the_pages_of_the_last_one():
    kept, faults = faults_of_a_tensor()
    assert kept == 'True' and faults < PAGES / 100


@glibc_only
def test_without_it_the_system_maps_each_page_anew():
    kept, faults = faults_of_a_tensor(MALLOC_MMAP_THRESHOLD_='1048576', GLIBC_TUNABLES='glibc.malloc.hugetlb=0')
    assert kept == 'False' and faults > PAGES / 1000  # fewer pages where they are huge


@pytest.mark.parametrize(
    'name, value', [('MALLOC_TRIM_THRESHOLD_', '262144'), ('GLIBC_TUNABLES', 'glibc.malloc.mmap_max=7')]
)
def test_the_users_own_settings_stay(mallopt, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert not keep_freed_memory() and not mallopt


def test_tunables_of_other_parts_of_glibc_are_none_of_malloc(mallopt, monkeypatch):
    monkeypatch.setenv('GLIBC_TUNABLES', 'glibc.cpu.x86_ibt=on')
    assert keep_freed_memory() and mallopt == [(-4, 0), (-1, -1)]


def test_another_library_is_left_alone(mallopt, monkeypatch):
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('', ''))
    assert not keep_freed_memory() and not mallopt
