import ctypes
import os
import subprocess
import sys

import pytest
import torch

# Frees all of many tensors but the last, after one that raises glibc's threshold above them.
SCRIPT = """
import resource, sys, torch
from pathlib import Path
if sys.argv[1] == 'hook':
    from cleverdistiller.engine.hooks import SteadyMemoryHook
    SteadyMemoryHook().before_run(None)
def resident_mib():
    return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize() / 2**20
del_me = torch.ones(30 * 2**18)
del del_me
tensors = [torch.ones(2**18) for _ in range(200)]  # 1 MiB each
full = resident_mib()
del tensors[:-1]
print(full - resident_mib())
"""


@pytest.mark.skipif(
    torch.cuda.is_available() or not hasattr(ctypes.CDLL(None), 'mallopt'), reason='for CPUs with glibc alone'
)
def test_freed_tensors_leave_the_process_with_the_hook_alone():
    def freed_mib(argument: str) -> float:
        command = [sys.executable, '-c', SCRIPT, argument]
        env = {name: value for name, value in os.environ.items() if not name.startswith('MALLOC_')}
        return float(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()[-1])

    assert freed_mib('hook') > 190
    assert freed_mib('no hook') < 50
