"""What is changed in spconv; the package's text says what and why."""

import math

import torch

from cleverdistiller.errors import InputError
from cleverdistiller.ops.neighbour_pairs import strided_pairs, submanifold_pairs

_INT32_CELLS = 2**31
_HASHED_VOXELS = 2**15  # up to here spconv's hash table is about as fast; measured on a CPU with 1 MiB of L2 a core


def make_spconv_right_on_cpu() -> None:
    """Patch ``spconv`` once; see the package's text."""
    from spconv.pytorch import ops

    if hasattr(ops, 'stock_functions'):
        return
    ops.stock_functions = ops.get_current_stream, ops.get_indice_pairs
    ops.get_current_stream = _get_current_stream
    ops.get_indice_pairs = _get_indice_pairs


def _get_current_stream() -> int:
    from spconv.pytorch import ops

    return ops.stock_functions[0]() if torch.cuda.is_available() else 0


def _get_indice_pairs(
    indices,
    batch_size,
    spatial_shape,
    algo,
    ksize,
    stride,
    padding,
    dilation,
    out_padding,
    subm=False,
    transpose=False,
    num_out_act_bound=-1,
):
    """spconv's signature; output rows, pairs, counts."""
    from spconv.pytorch import ops

    plain = all(d == 1 for d in dilation) and not transpose
    submanifold = plain and subm and all(size % 2 for size in ksize)
    right = math.prod(spatial_shape) * batch_size < _INT32_CELLS
    slow = submanifold and len(indices) > _HASHED_VOXELS
    if indices.is_cuda or (right and not slow):
        return ops.stock_functions[1](
            indices,
            batch_size,
            spatial_shape,
            algo,
            ksize,
            stride,
            padding,
            dilation,
            out_padding,
            subm,
            transpose,
            num_out_act_bound,
        )
    if submanifold:
        return indices, *submanifold_pairs(indices, ksize)
    if plain and not subm and list(ksize) == list(stride) and not any(padding):
        return strided_pairs(indices, stride)
    raise InputError(
        f'a sparse convolution with kernel {ksize}, stride {stride}, padding {padding} on a CPU grid '
        f'of {spatial_shape} cells',
        'fewer than 2^31 cells in the batch',
        'use larger voxels, a smaller batch, or a GPU',
    )
