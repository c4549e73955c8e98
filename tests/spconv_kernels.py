"""spconv on a GPU that is not there: its own table of kernels says which convolutions it could run, a CPU runs them."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from unittest import mock

import numpy as np
import torch
from torch.utils._mode_utils import no_dispatch

ARCHITECTURES = ((7, 0), (7, 5), (8, 0), (8, 6), (9, 0))  # V100, T4, A100, RTX 30, H100 and H200


@lru_cache
def missing_kernels(
    features: torch.dtype, weight: torch.dtype, out: torch.dtype, shape: tuple[int, int, int], native: bool, train: bool
) -> tuple[str, ...]:
    """What no kernel of spconv's does, out of its compiled tables.

    Args:
        features (torch.dtype): Of the input.
        weight (torch.dtype): Of the weight.
        out (torch.dtype): Of the output; each gradient has the type of what it is the gradient of.
        shape (tuple[int, int, int]): Of the weight: output channels, taps, input channels.
        native (bool): Gather-GEMM-scatter; otherwise implicit GEMM.
        train (bool): Both gradients, too.

    Returns:
        tuple[str, ...]: Operation and compute capability.
    """
    from cumm import tensorview as tv
    from spconv.pytorch.cppcore import _TORCH_DTYPE_TO_TV as names

    lacking = [str(dtype) for dtype in (features, weight, out) if dtype not in names]
    if lacking:
        return tuple(f'any: spconv has no {dtype}' for dtype in lacking)
    c_out, taps, c_in = shape
    a = tv.zeros([128, c_in], names[features], -1)
    b = tv.zeros([c_out, taps, c_in], names[weight], -1)
    c = tv.zeros([128, c_out], names[out], -1)
    count = _native_kernels if native else _implicit_gemm_kernels
    return tuple(
        f'{operation} on sm_{"".join(map(str, architecture))}'
        for architecture in ARCHITECTURES
        for operation, kernels in count(a, b, c, architecture, train).items()
        if not kernels
    )


def _implicit_gemm_kernels(features, weight, out, architecture, train: bool) -> dict[str, int]:
    from cumm.conv.bases import KRSC, NHWC, ConvOpType
    from spconv.algo import CONV_CPP

    operations = dict(forward=ConvOpType.kForward)
    if train:
        operations.update({'gradient of features': ConvOpType.kBackwardInput})
        operations.update({'gradient of weight': ConvOpType.kBackwardWeight})
    layouts = [layout.layout_type.value for layout in (NHWC, KRSC, NHWC)]
    layouts += [layout.interleave for layout in (NHWC, KRSC, NHWC)]
    narrowest = 32  # rows of the narrowest forward kernel: the weight's gradient takes its blocks
    return {
        name: len(
            CONV_CPP.get_all_available(
                features, weight, out, *layouts, architecture, operation.value, narrowest, True, False, True
            )
        )
        for name, operation in operations.items()
    }


def _native_kernels(features, weight, out, architecture, train: bool) -> dict[str, int]:
    from cumm.gemm.algospec.core import ShuffleStrideType
    from spconv.algo import GEMM_CPP

    tap = weight.select(1, 0)
    rows, both = ShuffleStrideType.ShuffleAC.value, ShuffleStrideType.ShuffleAB.value
    found = dict(forward=(features, tap, out, False, True, False, architecture, rows))
    if train:
        found['gradient of features'] = (out, tap, features, False, False, False, architecture, rows)
        found['gradient of weight'] = (out, features, tap, True, False, False, architecture, both)
    return {name: len(GEMM_CPP.get_all_available(*arguments)) for name, arguments in found.items()}


@contextmanager
def gpu_convolutions(to_cpu: Callable, to_gpu: Callable, wait: Callable) -> Iterator[None]:
    """Let spconv's own modules take their way for CUDA; what they end in checks the table and is computed on the CPU.

    Args:
        to_cpu (Callable): The numbers of a tensor of the GPU.
        to_gpu (Callable): A tensor of the GPU with these numbers.
        wait (Callable): Told by name of what the host waits for.

    Raises:
        RuntimeError: Inside, spconv's own "can't find suitable algorithm", for a convolution without kernels.
    """
    from spconv.core import ConvAlgo
    from spconv.pytorch import ops

    pairs_on_cpu = ops.get_indice_pairs

    def get_indice_pairs(indices, *args, **kwargs):
        wait('neighbour table')
        return neighbours(indices, *args, **kwargs)

    def get_indice_pairs_implicit_gemm(
        indices, batch_size, spatial_shape, algo, ksize, stride, padding, dilation, out_padding,
        subm=False, transpose=False, is_train=True, **kwargs,
    ):  # fmt: skip
        if not subm:
            wait('neighbour table')
        geometry = ksize, stride, padding, dilation, out_padding, subm, transpose
        out, table, counts = neighbours(indices, batch_size, spatial_shape, algo, *geometry)
        back = to_gpu(to_cpu(table)[[1, 0, 2]])  # an inverse convolution exchanges the two directions
        return out, counts, table, back, [], [], [], [], [np.ones(1, np.uint32)]

    def neighbours(indices, batch_size, spatial_shape, algo, *geometry):
        """The rows of the output, and (3, P): the row of the input, that of the output, and the tap of each pair."""
        *_, subm, _ = geometry
        with no_dispatch():
            out, table, counts = table_on_cpu(to_cpu(indices), batch_size, spatial_shape, geometry)
        return indices if subm else to_gpu(out), to_gpu(table), to_gpu(counts)

    def table_on_cpu(indices, batch_size, spatial_shape, geometry):
        *_, subm, _ = geometry
        out, pairs, counts = pairs_on_cpu(indices, batch_size, spatial_shape, ConvAlgo.Native, *geometry)
        taps, used = pairs.shape[1], counts.tolist()
        if subm:  # only one half is counted; the centre sees itself
            used[taps // 2 + 1 :] = used[: taps // 2][::-1]
            used[taps // 2], pairs[:, taps // 2] = len(out), torch.arange(len(out))
        of_tap = [
            torch.cat([pairs[:, tap, :count].long(), torch.full((1, count), tap)]) for tap, count in enumerate(used)
        ]
        return out, torch.cat(of_tap, 1), counts

    def check(features, filters, out_dtype, native: bool, train: bool) -> None:
        shape = filters.shape[0], math.prod(filters.shape[1:-1]), filters.shape[-1]
        missing = missing_kernels(features.dtype, filters.dtype, out_dtype, shape, native, train)
        if missing:
            raise RuntimeError(
                f"can't find suitable algorithm: features {features.dtype}, weight {filters.dtype}, output {out_dtype}"
                f', shape {shape}, {"native" if native else "implicit GEMM"}: {missing[0]} and {len(missing) - 1} more'
            )

    def convolve(features, filters, table, rows: int, out_dtype):
        """Every row by every tap's weight, then what the pairs name."""
        with no_dispatch():
            source, target, tap = to_cpu(table)
            weight = to_cpu(filters).float().flatten(1, -2)  # (C_out, taps, C_in)
            products = torch.einsum('nc,otc->nto', to_cpu(features).float(), weight)
            out = torch.zeros(rows, len(weight)).index_add_(0, target, products[source, tap])
            return to_gpu(out.to(out_dtype))

    def indice_conv(features, filters, table, counts, rows, inverse=False, subm=False, *, algo, **kwargs):
        assert features.is_cuda and algo == ConvAlgo.Native
        wait('counts of pairs')
        check(features, filters, features.dtype, native=True, train=True)
        table = to_gpu(to_cpu(table)[[1, 0, 2]]) if inverse else table
        return convolve(features, filters, table, rows, features.dtype)

    def implicit_gemm(
        features, filters, table, masks, order, rows, mask, is_train, is_subm, *args, output_dtype=None, **kwargs
    ):
        assert features.is_cuda
        output_dtype = output_dtype or features.dtype
        check(features, filters, output_dtype, native=False, train=is_train)
        return convolve(features, filters, table, rows, output_dtype), None, 0

    own = (get_indice_pairs, get_indice_pairs_implicit_gemm, indice_conv, implicit_gemm)
    with mock.patch.multiple(ops, **{function.__name__: function for function in own}):
        yield
