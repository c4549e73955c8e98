import ctypes

import torch
from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE_BYTES = 256 * 1024


@HOOKS.register_module()
class SteadyMemoryHook(Hook):
    """On a CPU, let the memory of a freed tensor go back to the system at once.

    glibc keeps freed blocks below a threshold, and raises the threshold to the largest block that was freed. Each scan
    has other sizes, so that the kept blocks never fit and the process grows: by 10 MiB an iteration in pretraining,
    where it does not grow with a fixed threshold. Does nothing where there is a GPU or another C library.
    """

    def before_run(self, runner: Runner) -> None:
        libc = ctypes.CDLL(None)
        if not torch.cuda.is_available() and hasattr(libc, 'mallopt'):
            libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
