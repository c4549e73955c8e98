"""A GPU that is not there: on a CPU, the rules that only CUDA tensors meet.

Tensors claim to lie on ``cuda:0``, so torch takes its own way for such: the lists of CUDA autocast, the decorators of
custom autograd functions, every ``is_cuda``. Their numbers lie on the CPU. Without gradients: autograd asks a driver.

What is refused as a GPU refuses it: a tensor of the CPU among tensors of the GPU, a generator of the CPU for numbers of
the GPU, numbers of two types where one is wanted, decompositions in half precision, and sparse convolutions for which
spconv's own table of kernels has no entry (see ``spconv_kernels``). What makes the host wait is counted by operator and
by the function of ours that asks for it.
"""

import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from spconv_kernels import gpu_convolutions

GPU = torch.device('cuda', 0)
HALF = (torch.float16, torch.bfloat16)
OURS = '/cleverdistiller/'

# The size of what comes out, or a value, goes to the host.
_WAITS = tuple(
    [
        '_local_scalar_dense',
        'nonzero',
        '_unique2',
        'unique_dim',
        'unique_consecutive',
        'masked_select',
        'bincount',
        'equal',
    ]
)
_INDEXING = ('index', 'index_put', 'index_put_', '_index_put_impl_')
# Refuse numbers of two types. A CPU would, too, but half precision is computed in float32 here.
_ONE_TYPE = tuple(
    [
        'mm',
        'addmm',
        'bmm',
        'baddbmm',
        'mv',
        'dot',
        'convolution',
        '_embedding_bag',
        'index_add',
        'index_add_',
        'index_copy',
        'index_put',
        'index_put_',
        '_index_put_impl_',
        'scatter',
        'scatter_',
        'scatter_add',
        'scatter_add_',
        'scatter_reduce',
        'scatter_reduce_',
    ]
)
_COPIES = ('_to_copy', 'copy_')
# LAPACK's and MAGMA's: no kernel in half precision, and in no list of autocast.
_NO_HALF = tuple(
    f'{prefix}linalg_{name}'
    for prefix in ('', '_')
    for name in ('svd', 'eig', 'qr', 'lstsq', 'det', 'slogdet', 'inv', 'solve', 'cholesky', 'lu')
)


class GPUTensor(Tensor):
    """Claims to lie on the GPU; ``cpu_numbers`` is what it holds."""

    @staticmethod
    def __new__(cls, numbers: Tensor) -> 'GPUTensor':
        return Tensor._make_wrapper_subclass(
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=GPU,
        )

    def __init__(self, numbers: Tensor) -> None:
        self.cpu_numbers = numbers

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f'{func} of a tensor on the pretended GPU, outside of PretendedGPU')

    # What torch's binding to Python does under a guard of the device, which asks the driver.

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in _BY_OPERATOR:
            return _BY_OPERATOR[func](*args, **(kwargs or {}))
        if func is Tensor.new:
            return GPUTensor(args[0].cpu_numbers.new(*args[1:]))
        if func is Tensor.new_tensor:
            _current().wait('to the GPU')
            options = {name: value for name, value in (kwargs or {}).items() if name != 'device'}
            return GPUTensor(args[0].cpu_numbers.new_tensor(*args[1:], **options))
        with torch._C.DisableTorchFunctionSubclass():  # what goes to the CPU is of no subclass
            return func(*args, **(kwargs or {}))

    def __getitem__(self, index):
        return GPUTensor(self.cpu_numbers[_rows(index)])

    def __setitem__(self, index, value) -> None:
        index = _rows(index)  # a value of the CPU is copied there, as a number is
        if isinstance(value, Tensor) and not isinstance(value, GPUTensor) and value.dim():
            _current().wait('to the GPU')
        self.cpu_numbers[index] = numbers_of(value)

    def __invert__(self):
        return self.bitwise_not()

    def item(self):
        _current().wait('a number')
        return self.cpu_numbers.item()

    def tolist(self):
        _current().wait('numbers')
        return self.cpu_numbers.tolist()

    def __bool__(self) -> bool:
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __index__(self) -> int:
        return int(self.item())


def _nonzero(tensor: Tensor, *, as_tuple: bool = False):
    rows = torch.ops.aten.nonzero(tensor)
    return rows.unbind(1) if as_tuple else rows


_BY_OPERATOR = {
    torch.nonzero: _nonzero,
    Tensor.nonzero: _nonzero,
    Tensor.contiguous: torch.ops.aten.contiguous,
}


def _current() -> 'PretendedGPU':
    mode = _get_current_dispatch_mode()
    assert isinstance(mode, PretendedGPU)
    return mode


def _rows(index):
    """The index in the CPU's numbers; what the host must wait for in it is counted."""
    for entry in index if isinstance(index, tuple) else (index,):
        if isinstance(entry, GPUTensor) and (entry.dtype in (torch.bool, torch.uint8) or not entry.dim()):
            _current().wait('index by a mask' if entry.dim() else 'index by a number')
        elif isinstance(entry, list) or (isinstance(entry, (Tensor, np.ndarray)) and not isinstance(entry, GPUTensor)):
            _current().wait('index by rows of the host')
    return mapped(numbers_of, index)


_tensor = torch.tensor


class PretendedGPU(TorchDispatchMode):
    """While it is entered, ``cuda:0`` is there.

    Attributes:
        waits (Counter): How often the host waited, by ``operator @ file:function`` of ours.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits = Counter()
        self._stack = None

    def __enter__(self) -> 'PretendedGPU':
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            stack.enter_context(torch.backends.cuda.sdp_kernel(enable_flash=False, enable_mem_efficient=False))
            for target, name, value in (
                (torch.cuda, '_lazy_init', lambda: None),
                (torch.cuda, 'is_bf16_supported', lambda: True),
                (torch, 'tensor', self._tensor_of),
                (torch.cuda.amp.common, 'amp_definitely_not_available', lambda: False),
            ):
                stack.enter_context(mock.patch.object(target, name, value))
            if importlib.util.find_spec('spconv'):
                stack.enter_context(gpu_convolutions(numbers_of, GPUTensor, self.wait))
            stack.enter_context(_point_operators())
            super().__enter__()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error) -> None:
        super().__exit__(*error)
        self._stack.__exit__(*error)

    def _tensor_of(self, data, *, device=None, **options) -> Tensor:
        """For ``torch.tensor``, whose copy to a GPU cannot be seen."""
        there = device is not None and torch.device(device).type == 'cuda'
        if there:
            self.wait('to the GPU')
        made = _tensor(data, **options)
        return GPUTensor(made) if there else made

    @staticmethod
    def put(module: nn.Module) -> nn.Module:
        """Move a module, as ``module.to('cuda')`` does; a teacher that is no submodule comes along."""
        held = [part.teacher for part in module.modules() if isinstance(getattr(part, 'teacher', None), nn.Module)]
        for part in [*module.modules(), *(inner for teacher in held for inner in teacher.modules())]:
            for own in (part._parameters, part._buffers):
                own.update({name: on_gpu(tensor) for name, tensor in own.items() if tensor is not None})
            if hasattr(part, '_device'):  # mmengine's data preprocessors
                part._device = GPU
        return module

    def wait(self, what: str) -> None:
        """Count one."""
        frame = sys._getframe(1)
        while frame and OURS not in frame.f_code.co_filename:
            frame = frame.f_back
        place = f'{frame.f_code.co_filename.split(OURS)[-1]}:{frame.f_code.co_name}' if frame else 'elsewhere'
        self.waits[f'{what} @ {place}'] += 1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        leaves = list(leaves_of((args, kwargs)))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        here = [tensor for tensor in tensors if isinstance(tensor, GPUTensor)]
        name = func._schema.name.split('::')[1]
        device = kwargs.get('device')
        asked = None if device is None else torch.device(device).type
        to_gpu = asked == 'cuda' or (bool(here) and asked is None)
        if name in _COPIES:
            to_gpu = to_gpu if name == '_to_copy' else isinstance(args[0], GPUTensor)
            from_gpu = isinstance(args[-1] if name == 'copy_' else args[0], GPUTensor)
            if to_gpu != from_gpu and not (to_gpu and kwargs.get('non_blocking')):  # from pinned memory
                self.wait('to the GPU' if to_gpu else 'to the CPU')
        elif here:
            self._check(func, name, args, tensors, leaves)
        elif to_gpu and any(isinstance(leaf, torch.Generator) for leaf in leaves):
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        if 'device' in kwargs:
            kwargs['device'] = torch.device('cpu')
        kwargs.pop('pin_memory', None)
        known = {id(tensor.cpu_numbers): tensor for tensor in here}
        found = _run(func, *mapped(numbers_of, (args, kwargs)))

        def on_its_device(value):
            if not isinstance(value, Tensor):
                return value
            return known.get(id(value)) if id(value) in known else GPUTensor(value) if to_gpu else value

        return mapped(on_its_device, found)

    def _check(self, func, name: str, args, tensors: list[Tensor], leaves: list) -> None:
        strangers = [tensor for tensor in tensors if not isinstance(tensor, GPUTensor) and tensor.dim()]
        if name in _INDEXING:
            if any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]):
                self.wait(name + ' by a mask')
            if any(index is stranger for index in args[1] for stranger in strangers):
                self.wait(name + ' by rows on the CPU')
                strangers = []
        if strangers:
            raise RuntimeError(
                f'Expected all tensors to be on the same device: {func} of {[tuple(each.shape) for each in strangers]} '
                'on the CPU among tensors on the GPU'
            )
        if any(isinstance(leaf, torch.Generator) for leaf in leaves):
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        if name.startswith(_NO_HALF) and any(tensor.dtype in HALF for tensor in tensors):
            raise RuntimeError(f'{func} not implemented for half precision')
        if name in _ONE_TYPE and len({tensor.dtype for tensor in tensors if tensor.is_floating_point()}) > 1:
            raise RuntimeError(f'expected tensors of the same dtype: {func} of {[tensor.dtype for tensor in tensors]}')
        if name in _WAITS or (name == 'repeat_interleave' and len(args) < 2):
            self.wait(name)


def on_gpu(tensor: Tensor) -> Tensor:
    """A copy there; one that is there already stays."""
    return tensor if isinstance(tensor, GPUTensor) else GPUTensor(tensor.detach().clone())


def numbers_of(value):
    """What a tensor of the GPU holds; anything else stays as it is."""
    return value.cpu_numbers if isinstance(value, GPUTensor) else value


def leaves_of(value) -> Iterator:
    """What tuples, lists and dicts hold."""
    if isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves_of(part)
    else:
        yield value


def mapped(function, value):
    """The same tuples, lists and dicts of other leaves."""
    if isinstance(value, (tuple, list)):
        return type(value)(mapped(function, part) for part in value)
    if isinstance(value, dict):
        return {key: mapped(function, part) for key, part in value.items()}
    return function(value)


_WITHOUT_HALF = set()


def _run(func, args, kwargs):
    """In float32 where a CPU has no kernel in half precision."""
    if func in (torch.ops.aten._softmax.default, torch.ops.aten._log_softmax.default) and args[2]:  # half to float32
        return func(args[0].float(), args[1], False)
    halves = [leaf for leaf in leaves_of((args, kwargs)) if isinstance(leaf, Tensor) and leaf.dtype in HALF]
    kind = func, halves[0].dtype if halves else None
    if kind not in _WITHOUT_HALF:
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            if not halves or 'not implemented for' not in str(error):
                raise
            _WITHOUT_HALF.add(kind)
    wide = {id(half): half.float() for half in halves}
    widened = mapped(lambda leaf: wide.get(id(leaf), leaf) if isinstance(leaf, Tensor) else leaf, (args, kwargs))
    found = func(*widened[0], **widened[1])
    for half in halves:  # what is written in place
        half.copy_(wide[id(half)])
    own = {id(wide[id(half)]): half for half in halves}

    def narrowed(leaf):
        if not isinstance(leaf, Tensor) or leaf.dtype != torch.float32:
            return leaf
        return own.get(id(leaf), leaf.to(halves[0].dtype))

    return mapped(narrowed, found)


@contextmanager
def _point_operators() -> Iterator[None]:
    """Let mmcv's operators on points, where a detector has replaced them, compute by our own ones for a CPU."""
    from mmcv.ops.roipoint_pool3d import RoIPointPool3dFunction

    from cleverdistiller.compat import missing_operators, mmcv

    holders = [(RoIPointPool3dFunction, 'forward')]
    holders += [(importlib.import_module(module), name) for module, names in mmcv._HELD_BY.items() for name in names]

    def computed(function):
        def run(*args, **kwargs):
            on_device = any(isinstance(leaf, GPUTensor) for leaf in leaves_of((args, kwargs)))
            with no_dispatch():
                found = function(*mapped(numbers_of, args), **mapped(numbers_of, kwargs))
            return mapped(lambda leaf: GPUTensor(leaf) if on_device and isinstance(leaf, Tensor) else leaf, found)

        return run

    with ExitStack() as stack:
        if missing_operators() is None:
            for owner, name in holders:
                chosen = getattr(owner, name)
                if hasattr(chosen, 'stock'):
                    stack.enter_context(mock.patch.object(chosen, 'stock', computed(chosen.__wrapped__)))
            compiled = importlib.import_module('mmcv._ext')
            for name in ('box_iou_rotated', 'nms', 'nms_rotated'):  # have kernels for a CPU; write into arguments
                stack.enter_context(mock.patch.object(compiled, name, computed(getattr(compiled, name))))
        yield
