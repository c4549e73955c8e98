"""The only module that changes another library, and the whole list of what it changes.

- ``spconv.pytorch.ops.get_current_stream``: asks CUDA for a stream even when every tensor is on the CPU,
  which fails without a GPU. Replaced by a version that answers 0 there; with a GPU nothing changes.
"""
import torch


def let_spconv_run_without_cuda() -> None:
    """Patch ``spconv`` once; see the module's text."""
    from spconv.pytorch import ops

    stock = ops.get_current_stream
    if getattr(stock, 'works_without_cuda', False):
        return

    def get_current_stream() -> int:
        return stock() if torch.cuda.is_available() else 0

    get_current_stream.works_without_cuda = True
    ops.get_current_stream = get_current_stream
