"""Peak memory of a part of a benchmark.

On a CPU above what was in use before, which Linux tells of this process; on CUDA all that torch has there.
"""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass
class Peak:
    """Filled in when the part ends."""

    mib: float = 0.0


@contextmanager
def peak_memory(device: str = 'cpu') -> Iterator[Peak]:
    """Measure what runs inside the block."""
    peak = Peak()
    gc.collect()
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        yield peak
        peak.mib = torch.cuda.max_memory_allocated() / 2**20
    else:
        ctypes.CDLL(None).malloc_trim(0)  # memory that was freed but kept would hide what comes
        Path('/proc/self/clear_refs').write_text('5')  # VmHWM begins anew
        before = resident_mib()
        yield peak
        peak.mib = _status_mib('VmHWM') - before


def resident_mib() -> float:
    """What this process has in memory now."""
    return _status_mib('VmRSS')


def _status_mib(key: str) -> float:
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f'{key}:')).split()[1]) / 1024
