"""What is changed in how glibc keeps memory; the package's text says what and why."""

import ctypes
import os
import platform

# Of malloc.h: mallopt's names for two settings that glibc also reads from the environment when a process starts.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Let this process keep what its tensors free, as ``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1`` would.

    glibc gives each block above 32 MiB back to the system, which clears every page of the next one: on a CPU a step
    whose tensors pass that size took up to 1.7 times as long (``benchmarks/scaling.py``).

    Returns:
        bool: Whether it does: not where the environment has settings for glibc's malloc, which are the user's, and not
        on another C library.
    """
    settings = [name for name in os.environ if name.startswith('MALLOC_')]
    if settings or 'glibc.malloc.' in os.environ.get('GLIBC_TUNABLES', '') or platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))
