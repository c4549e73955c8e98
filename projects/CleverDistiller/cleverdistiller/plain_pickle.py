"""Reading pickles without running code that they may carry: info files, ground-truth databases, parts of them."""

import pickle
import re
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cleverdistiller.errors import InputError

# The types alone: builtins also holds eval and getattr.
_TYPES = (bool, bytearray, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
_PLAIN_DTYPE = re.compile(r'[<>=|]?[?biufcSUMm]\d*(\[\w+\])?')


class _NotPlainError(pickle.UnpicklingError):
    """A pickle asks for what could run code."""


def _dtype(name: str, align: bool = False, copy: bool = False) -> np.dtype:
    """Make a dtype of numbers, text or times; in arrays of objects, forged bytes would be taken for pointers."""
    if not isinstance(name, str) or not _PLAIN_DTYPE.fullmatch(name):
        raise _NotPlainError(f'numpy arrays of {name!r}')
    return np.dtype(name, align, copy)


def _encode(text: str, encoding: str) -> bytes:
    """Make bytes as protocols 0 to 2 ask for them; other encodings could unpack gigabytes."""
    if encoding != 'latin1':
        raise _NotPlainError(f'_codecs.encode to {encoding!r}')
    return text.encode(encoding)


_GLOBALS = {
    # Protocols 0 to 2 write Python 2's names.
    **{(module, kind.__name__): kind for module in ('builtins', '__builtin__') for kind in _TYPES},
    ('__builtin__', 'long'): int,
    ('__builtin__', 'unicode'): str,
    ('collections', 'OrderedDict'): OrderedDict,
    ('collections', 'defaultdict'): defaultdict,
    ('_codecs', 'encode'): _encode,
    ('numpy', 'dtype'): _dtype,
    ('numpy', 'ndarray'): np.ndarray,
}
for _core in ('numpy.core', 'numpy._core'):  # before numpy 2, and from then on
    _GLOBALS[f'{_core}.multiarray', '_reconstruct'] = np.empty(0).__reduce__()[0]
    _GLOBALS[f'{_core}.multiarray', 'scalar'] = np.float64(0).__reduce__()[0]
    _GLOBALS[f'{_core}.numeric', '_frombuffer'] = np.empty(0).__reduce_ex__(5)[0]


class PlainUnpickler(pickle.Unpickler):
    """Unpickle plain values, containers and numpy arrays of them; refuse all else before it is imported.

    Args:
        file (BinaryIO): The pickle.
        more_globals (Mapping[tuple[str, str], object] | None): For pickles with other classes, as pandas' frames:
            module and name that the pickle may also ask for, to what it gets. They go before the plain ones.

    Raises:
        pickle.UnpicklingError: If the pickle asks for anything else, or is damaged.
    """

    def __init__(self, file: BinaryIO, more_globals: Mapping[tuple[str, str], object] | None = None) -> None:
        super().__init__(file)
        self._globals = {**_GLOBALS, **(more_globals or {})}

    def find_class(self, module: str, name: str) -> object:
        """Look up what a pickle asks for. A dotted name leads nowhere: names are compared, never resolved."""
        if (module, name) not in self._globals:
            raise _NotPlainError(f'{module}.{name}')
        return self._globals[module, name]


def read_plain_pickle(
    path: str | Path, expected: str, remedy: str, more_globals: Mapping[tuple[str, str], object] | None = None
) -> object:
    """Read a pickle of plain values, never running code that it may carry.

    Args:
        path (str | Path): The file.
        expected (str): What it should be, for the message.
        remedy (str): How to make it again, for the message.
        more_globals (Mapping[tuple[str, str], object] | None): See :class:`PlainUnpickler`.

    Returns:
        object: Its content.

    Raises:
        InputError: If the file cannot be read, is damaged, or asks for more, which is named.
    """
    try:
        with open(path, 'rb') as file:
            return PlainUnpickler(file, more_globals).load()
    except _NotPlainError as error:
        raise InputError(
            f'{path}, which asks for {error}',
            f'{expected}, made of plain values, containers and numpy arrays of numbers and text',
            f'opening it could run code of its author: {remedy}',
        ) from error
    except Exception as error:  # any damaged pickle: EOFError, UnpicklingError, MemoryError, ...
        raise InputError(f'{path}, which cannot be read ({error})', expected, remedy) from error
