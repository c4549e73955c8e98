"""Sparse convolution on every machine: one spelling of the layers, one state dict, several backends.

Weights lie as (out, kd, kh, kw, in) in every backend (spconv 2.x), so a checkpoint moves freely.
"""

import importlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import torch
from torch import Tensor, nn

from cleverdistiller.compat import make_spconv_right_on_cpu
from cleverdistiller.errors import InputError

BACKENDS = ('spconv', 'spconv_triton')
# Implicit GEMM kernels hold at most 32 taps (3^3 = 27); a 5^3 stem needs the native algorithm.
_MAX_IMPLICIT_GEMM_TAPS = 32


@dataclass(frozen=True)
class Backend:
    """A sparse-convolution library chosen for this machine.

    Args:
        name (str): ``spconv`` or ``spconv_triton``.
        module (ModuleType): Its ``pytorch`` module, with ``SubMConv3d`` and friends.
        reason (str): Why it was chosen, for people.
    """

    name: str
    module: ModuleType
    reason: str


@lru_cache
def load_backend(name: str = 'auto') -> Backend:
    """Choose a sparse-convolution library.

    Args:
        name (str): ``spconv`` (CPU and CUDA), ``spconv_triton`` (CUDA only, newer torch), or ``auto``:
            spconv where it is installed, else spconv_triton on a machine with a GPU.

    Returns:
        Backend: Ready to use.

    Raises:
        InputError: If the library is missing, is the racy CPU-only build, or needs a GPU that is absent.
    """
    if name not in ('auto', *BACKENDS):
        raise InputError(
            f'sparse-convolution backend {name!r}',
            f'one of auto, {", ".join(BACKENDS)}',
            'set student.backend in the config',
        )
    if name == 'spconv' or (name == 'auto' and importlib.util.find_spec('spconv')):
        return Backend('spconv', _load_spconv(), 'installed; runs on CPU and CUDA')
    if not importlib.util.find_spec('spconv_triton'):
        raise InputError(
            'neither spconv nor spconv_triton installed' if name == 'auto' else 'spconv_triton not installed',
            'a sparse-convolution library',
            'pip install spconv-cu120==2.3.6 (runs without a GPU too), or spconv-triton on a GPU',
        )
    if not torch.cuda.is_available():
        raise InputError(
            'spconv_triton on a machine without a GPU',
            'a CUDA device',
            'pip install spconv-cu120==2.3.6, which also runs on a CPU (Python 3.11 or older)',
        )
    reason = 'asked for' if name == 'spconv_triton' else 'spconv is not installed; a GPU is there'
    return Backend('spconv_triton', importlib.import_module('spconv_triton.pytorch'), reason)


def _load_spconv() -> ModuleType:
    if not importlib.util.find_spec('spconv'):
        raise InputError(
            'spconv not installed',
            'a sparse-convolution library',
            'pip install spconv-cu120==2.3.6 (runs without a GPU too)',
        )
    # Measured: the CPU-only wheels (2.3.6, 2.3.8) race between threads and return varying, wrong sums.
    if importlib.import_module('spconv.cppconstants').CPU_ONLY_BUILD:
        raise InputError(
            'the CPU-only build of spconv, whose results are wrong with more than one thread',
            'spconv-cu120 (the CUDA build runs on a CPU too, exactly and repeatably)',
            'pip uninstall spconv cumm && pip install spconv-cu120==2.3.6',
        )
    make_spconv_right_on_cpu()
    return importlib.import_module('spconv.pytorch')


def use_algorithm_for(model: nn.Module, device: torch.device) -> None:
    """Set each sparse convolution below ``model`` to the algorithm that is right on ``device``.

    CPU: native gather-GEMM-scatter, the only one there. CUDA: implicit GEMM where the kernel allows.
    Weights are the same for both.

    Args:
        model (nn.Module): Holds convolutions of any backend.
        device (torch.device): Where the next batch lies.
    """
    for layer in model.modules():
        if hasattr(layer, 'algo') and hasattr(layer, 'kernel_size'):
            algorithms = type(layer.algo)
            taps = int(torch.tensor(layer.kernel_size).prod())
            implicit = device.type == 'cuda' and taps <= _MAX_IMPLICIT_GEMM_TAPS
            layer.algo = algorithms.MaskImplicitGemm if implicit else algorithms.Native


def largest_error_against_dense(backend: Backend, device: torch.device) -> float:
    """Compare submanifold, strided and inverse convolution on ``device`` with dense ``conv3d`` on the CPU.

    A small cloud goes through the three, one after the other; values and gradients of the weights are compared. The
    dense ones stay on the CPU because on a GPU torch computes them in TF32.

    Args:
        backend (Backend): What to check.
        device (torch.device): Where the sparse ones run.

    Returns:
        float: Largest absolute difference; above 1e-4 the backend must not be used.
    """
    generator = torch.Generator().manual_seed(0)
    size, channels = 8, 16
    occupied = torch.rand(2, size, size, size, generator=generator) < 0.3
    coords = occupied.nonzero().int().contiguous().to(device)  # nonzero gives columns; the kernels read rows
    features = torch.randn(len(coords), channels, generator=generator).to(device)
    lib = backend.module
    layers = nn.ModuleDict(
        {
            'subm': lib.SubMConv3d(channels, channels, 3, bias=False, indice_key='subm'),
            'down': lib.SparseConv3d(channels, channels, 2, stride=2, bias=False, indice_key='down'),
            'up': lib.SparseInverseConv3d(channels, channels, 2, indice_key='down', bias=False),
        }
    ).to(device)
    use_algorithm_for(layers, device)
    x = lib.SparseConvTensor(features, coords, [size] * 3, 2)
    subm = layers['subm'](x)
    down = layers['down'](subm)
    up = layers['up'](down)
    found = {name: sparse.dense() for name, sparse in dict(subm=subm, down=down, up=up).items()}
    mask = occupied[:, None]
    weights = {name: dense_weight(layer).cpu() for name, layer in layers.items()}
    dense = {'subm': nn.functional.conv3d(x.dense().cpu(), weights['subm'], padding=1) * mask}
    dense['down'] = nn.functional.conv3d(dense['subm'], weights['down'], stride=2)
    dense['up'] = nn.functional.conv_transpose3d(dense['down'], weights['up'].transpose(0, 1), stride=2) * mask
    probe = torch.randn(dense['up'].shape, generator=generator)
    parameters = list(layers.parameters())
    found_gradients = torch.autograd.grad((found['up'].cpu() * probe).sum(), parameters)
    dense_gradients = torch.autograd.grad((dense['up'] * probe).sum(), parameters)
    pairs = [(found[name], dense[name]) for name in dense] + list(zip(found_gradients, dense_gradients))
    return max(float((a.cpu() - b.cpu()).abs().max()) for a, b in pairs)


def dense_weight(layer: nn.Module) -> Tensor:
    """The layer's weight (out, kd, kh, kw, in) as ``conv3d`` wants it: (out, in, kd, kh, kw)."""
    return layer.weight.permute(0, 4, 1, 2, 3)
