"""What is changed in how a process whose tensors are on a CPU uses memory; the package's text says what and why."""

import ctypes
import os
import platform

import torch

# Of malloc.h: mallopt's names for two settings that glibc also reads from the environment when a process starts.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
ONEDNN_PRIMITIVES = '16'  # more than a step has of shapes that do not change: those of the teacher


def tune_cpu_memory() -> None:
    """Keep freed memory for the next tensors, and no kernels for shapes that do not come again.

    - glibc gives each block above 32 MiB back to the system, which clears every page of the next one: a step whose
      tensors pass that size took 1.2 to 1.7 times as long (``benchmarks/scaling.py``). Now as if the process had been
      started with ``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1``.
    - oneDNN (GELU) keeps kernels for its last 1024 shapes, and each scan has another. They are small, but lie between
      the freed blocks, which no longer join: pretraining in the demo grew from 1.6 to 3.9 GB in 180 steps. Now as with
      ``ONEDNN_PRIMITIVE_CACHE_CAPACITY=16``, which oneDNN reads when it first computes; so call this before.

    What the environment says about either stays as it is, and with a GPU everything does.
    """
    if torch.cuda.is_available():
        return
    if not {'ONEDNN_PRIMITIVE_CACHE_CAPACITY', 'DNNL_PRIMITIVE_CACHE_CAPACITY'} & set(os.environ):
        os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'] = ONEDNN_PRIMITIVES
    if platform.libc_ver()[0] == 'glibc' and not _malloc_is_set():
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def _malloc_is_set() -> bool:
    tunables = os.environ.get('GLIBC_TUNABLES', '')
    return 'glibc.malloc.' in tunables or any(name.startswith('MALLOC_') for name in os.environ)
