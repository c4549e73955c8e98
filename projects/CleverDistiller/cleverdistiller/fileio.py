"""Reading weights without running code, finding files, and writing files that are never half there."""

import json
import os
import pickle
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from cleverdistiller.errors import InputError

BROKEN_IMAGE = (OSError, SyntaxError)  # what PIL raises; SyntaxError for some PNGs


@contextmanager
def replace_when_complete(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; rename it to ``path`` once the block succeeds.

    A killed or failing writer leaves an older ``path`` untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        yield temporary
        with open(temporary, 'rb') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def visible_paths(folder: str | Path, pattern: str = '*') -> list[Path]:
    """List what matches a pattern below a folder, without what is hidden or lies in a hidden folder.

    macOS leaves ``._NAME`` beside each file on a disk of another kind, and ``.DS_Store``: pathlib's patterns, unlike a
    shell's, take them for data.

    Args:
        folder (str | Path): Where to look.
        pattern (str): As of :meth:`pathlib.Path.glob`.

    Returns:
        list[Path]: Sorted; empty if there is no such folder.
    """
    folder = Path(folder)
    matches = folder.glob(pattern)
    return sorted(path for path in matches if not any(part[0] == '.' for part in path.relative_to(folder).parts))


def read_checkpoint(path: str | Path) -> dict:
    """Read a ``.safetensors`` or a torch file, never running code it may carry.

    Args:
        path (str | Path): A ``.safetensors`` file, or anything ``torch.save`` wrote.

    Returns:
        dict: The content as saved, tensors on the CPU.

    Raises:
        InputError: If the file is missing, truncated, or needs arbitrary unpickling.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(
            f'{path}, which is not a file',
            'a .safetensors, .pth or .pt file',
            'check the path, or download the weights first',
        )
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        content = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f'{path}, which holds more than tensors and plain values ({_first_line(error)})',
            'a file that torch.load(..., weights_only=True) reads',
            'opening it would run code of its author: if you trust it, load it yourself once and save '
            'its state dict with safetensors.torch.save_file; give that file here',
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, LookupError, struct.error) as error:
        raise InputError(
            f'{path}, which cannot be read ({_first_line(error)})',
            'a complete weights file',
            'it is truncated or damaged: download or copy it again',
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f'{path} with a {type(content).__name__} inside', 'a dict of tensors', "save the model's state_dict()"
        )
    return content


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, unwrapping the usual ``state_dict``/``model`` envelope.

    Args:
        path (str | Path): See :func:`read_checkpoint`.

    Returns:
        dict[str, Tensor]: Name to tensor.

    Raises:
        InputError: See :func:`read_checkpoint`; also if no tensors are found.
    """
    content = read_checkpoint(path)
    for envelope in ('state_dict', 'model', 'teacher'):
        if isinstance(content.get(envelope), dict):
            content = content[envelope]
            break
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise InputError(
            f'{path} with the keys {sorted(map(str, content))[:5]}', 'named tensors', "save the model's state_dict()"
        )
    return tensors


def read_student(path: str | Path) -> dict[str, Tensor]:
    """Read a student's tensors, from an export or from the distiller's training checkpoint.

    Args:
        path (str | Path): See :func:`read_checkpoint`.

    Returns:
        dict[str, Tensor]: Name, without ``student.``, to tensor.

    Raises:
        InputError: See :func:`read_state_dict`.
    """
    found = read_state_dict(path)
    students = {name: value for name, value in found.items() if name.startswith('student.')}
    return {name.removeprefix('student.'): value for name, value in students.items()} or found


def read_metadata(path: str | Path) -> dict[str, str]:
    """What an exported student says about itself; empty for a file that says nothing.

    Args:
        path (str | Path): See :func:`read_checkpoint`.

    Returns:
        dict[str, str]: Such as ``voxel_size_m``, ``seed`` and ``config``.

    Raises:
        InputError: See :func:`read_checkpoint`.
    """
    content = read_checkpoint(path)
    if Path(path).suffix == '.safetensors':
        with safe_open(Path(path).expanduser(), 'pt') as file:
            return file.metadata() or {}
    meta = content.get('meta')
    return meta if isinstance(meta, dict) else {}


def read_student_arguments(path: str | Path, of_version: Mapping[int, dict]) -> dict:
    """What built the student of a file, by its metadata or by the version of its state dict.

    Args:
        path (str | Path): See :func:`read_checkpoint`.
        of_version (Mapping[int, dict]): Arguments by version; those of version 1 for metadata older than they are.

    Returns:
        dict: Empty for a file that says nothing.

    Raises:
        InputError: See :func:`read_checkpoint`.
    """
    made_with = json.loads(read_metadata(path).get('student', '{}'))
    if made_with:
        return {**of_version.get(1, {}), **made_with}
    content = read_checkpoint(path)
    states = (content[envelope] for envelope in ('state_dict', 'model') if isinstance(content.get(envelope), dict))
    versions = getattr(next(states, content), '_metadata', {})  # safetensors has none
    name = next((name for name in ('student', 'module.student', 'module', '') if name in versions), None)
    return of_version.get(versions.get(name, {}).get('version'), {})


def check_state_dict(
    found: dict[str, Tensor], wanted: dict[str, Tensor], path: str | Path, owner: str, remedy: str
) -> None:
    """Refuse weights that do not fit, listing what is missing, unexpected or of another shape.

    Args:
        found (dict[str, Tensor]): The weights that came.
        wanted (dict[str, Tensor]): The model's own state dict.
        path (str | Path): Where they came from, for the message.
        owner (str): What they should fit, for the message.
        remedy (str): What the user can do.

    Raises:
        InputError: If any name or shape differs.
    """
    problems = {
        'missing': sorted(wanted.keys() - found.keys()),
        'unexpected': sorted(found.keys() - wanted.keys()),
        'of another shape': [
            f'{name} {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}'
            for name in sorted(wanted.keys() & found.keys())
            if found[name].shape != wanted[name].shape
        ],
    }
    texts = [f'{len(names)} {what} ({", ".join(names)})' for what, names in problems.items() if names]
    if texts:
        raise InputError(
            f'{path} with tensors {"; ".join(texts)}', f'exactly the {len(wanted)} tensors of {owner}', remedy
        )


def load_strictly(
    module: nn.Module, weights: dict[str, Tensor], path: str | Path, remedy: str, owner: str | None = None
) -> None:
    """Load weights that must fit in every name and shape.

    Args:
        module (nn.Module): Gets the weights.
        weights (dict[str, Tensor]): Name to tensor.
        path (str | Path): Where they came from, for the message.
        remedy (str): What the user can do where they do not fit.
        owner (str | None): What they should fit, for the message; None for the module's class.

    Raises:
        InputError: If any name or shape differs.
    """
    # Through the module's own dict for its layout version: mmdet3d takes a dict without one (safetensors has none)
    # for spconv 1.x and transposes every kernel.
    own = module.state_dict()
    check_state_dict(weights, own, path, owner or type(module).__name__, remedy)
    own.update(weights)
    module.load_state_dict(own, strict=True)


def _first_line(error: Exception) -> str:
    return str(error).strip().split('\n')[0][:200]
