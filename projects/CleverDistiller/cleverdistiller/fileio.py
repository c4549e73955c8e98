"""Reading weights without running code, finding files, and writing files that are never half there."""

import errno
import json
import os
import pickle
import re
import shutil
import struct
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from cleverdistiller.errors import DiskFullError, InputError, listed

FULL = (errno.ENOSPC, errno.EDQUOT)
NO_ROOM_BYTES = 2**16  # free on a disk that is full
BROKEN_IMAGE = (OSError, SyntaxError)  # what PIL raises; SyntaxError for some PNGs
_EIGHT_BITS = ('1', 'L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'RGBX', 'CMYK', 'YCbCr', 'HSV')


@contextmanager
def replace_when_complete(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; rename it to ``path`` once the block succeeds.

    A killed or failing writer leaves an older ``path`` untouched, and so does a machine that loses its power: the
    content is on the disk before the name, the name before the block's caller goes on. A kill leaves the temporary
    file, which no reader takes for a file of the set; see :func:`remove_leftovers`.

    The block must hear of what cannot be written: give Python the bytes, not numpy's ``tofile`` the path, which says
    nothing where the end of an array finds no room, nor torch's ``save``.

    Raises:
        DiskFullError: If the disk or quota is full.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, 'rb') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _keep_names(path.parent)
    except Exception as error:
        code = None if isinstance(error, InputError) else full_disk(error, path.parent)
        if code is None:
            raise
        raise _disk_full_error(path, temporary, code) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, name: str = '*', recursive: bool = False) -> None:
    """Remove what killed writers left in a folder; nobody may be writing such files there.

    Args:
        folder (Path): Need not be there.
        name (str): Pattern of the names of the files that were to be written.
        recursive (bool): In the folders below, too.
    """
    pattern = '**/' * recursive + f'.{name}.*.tmp'
    for leftover in folder.glob(pattern):
        leftover.unlink(missing_ok=True)


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


def to_rgb(image: Image.Image, path: str | Path) -> Image.Image:
    """Bring an opened image to 8-bit RGB; 16-bit greys are scaled by their own range, 0 to 65535.

    PIL's ``convert`` alone makes all of them white that are above 255, and floats black.

    Args:
        image (PIL.Image.Image): Any.
        path (str | Path): Where it is from, for the message.

    Returns:
        PIL.Image.Image: Of mode ``RGB``.

    Raises:
        InputError: If its pixels are 32-bit integers or floats, whose range nothing tells.
    """
    if has_sixteen_bits(image):
        greys = np.asarray(image).astype(np.float32)
        image = Image.fromarray((greys * (255 / 65535)).round().astype(np.uint8))
    elif image.mode not in _EIGHT_BITS:
        raise InputError(
            f'{path} with pixels of mode {image.mode} (32-bit integers or floats)',
            'an image of 8 or 16 bit integers, whose range is known',
            'scale it to 0..255 and save it as 8 bit, or to 0..65535 as 16 bit',
        )
    return image.convert('RGB')


def has_sixteen_bits(image: Image.Image) -> bool:
    """Whether an image is of 16-bit greys. PIL's mode for those of PNG and PGM is that of 32-bit integers."""
    return image.mode.startswith('I;16') or (image.mode == 'I' and image.format in ('PNG', 'PPM'))


def full_disk(error: BaseException, folder: Path) -> int | None:
    """Find a full disk behind an error of a writer that may hide it, as numpy and TensorFlow do.

    Args:
        error (BaseException): Of the writer.
        folder (Path): Where it wrote.

    Returns:
        int | None: ``errno.ENOSPC`` or ``errno.EDQUOT``; None for another error.
    """
    while error is not None:
        for code in FULL:
            if getattr(error, 'errno', None) == code or os.strerror(code) in str(error):
                return code
        error = error.__cause__ or error.__context__
    return errno.ENOSPC if folder.is_dir() and shutil.disk_usage(folder).free < NO_ROOM_BYTES else None


def _disk_full_error(path: Path, temporary: Path, code: int) -> DiskFullError:
    written = temporary.stat().st_size if temporary.is_file() else 0
    folder = next(folder for folder in path.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(folder).free + written
    earlier = path.stat().st_size if path.is_file() else None
    return DiskFullError(
        f'{path}, for which there is no room: {os.strerror(code)} after {written / 1e6:.1f} MB of it, '
        f'{free / 1e6:.1f} MB are free in {folder} without them',
        'room for the whole file'
        + ('' if earlier is None else f' beside the earlier one of {earlier / 1e6:.1f} MB, which is left as it was'),
        'free some space (or quota) there, or write to another disk; then give the same command again',
        code,
    )


def read_checkpoint(path: str | Path) -> dict:
    """Read a safetensors or a torch file, whatever its name ends in, never running code it may carry.

    Args:
        path (str | Path): A safetensors file, or anything ``torch.save`` wrote.

    Returns:
        dict: The content as saved, tensors on the CPU.

    Raises:
        InputError: If the file is missing, truncated, of another kind, or needs arbitrary unpickling.
    """
    if not isinstance(path, str | Path):
        raise InputError(f'{path!r} for a file of weights', 'a path', 'correct the config')
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(
            f'{path}, which is not a file',
            'a .safetensors, .pth or .pt file',
            'check the path, or download the weights first',
        )
    head = _head(path)
    _refuse_other_kinds(head, path)
    try:
        if is_safetensors(path) or (path.suffix == '.safetensors' and not head.startswith((_ZIP, _LEGACY))):
            return load_file(path)
        content = torch.load(path, map_location='cpu', weights_only=True)
    except (
        pickle.UnpicklingError,
        SafetensorError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        struct.error,
    ) as error:
        if isinstance(error, pickle.UnpicklingError) and head.startswith((_ZIP, _PICKLE)):
            raise InputError(
                f'{path}, which holds more than tensors and plain values ({_first_line(error)})',
                'a file that torch.load(..., weights_only=True) reads',
                'opening it would run code of its author: if you trust it, load it yourself once and save '
                'its state dict with safetensors.torch.save_file; give that file here',
            ) from error
        raise InputError(
            f'{path}, which cannot be read ({_first_line(error)})',
            'a complete weights file, .safetensors, .pth or .pt',
            'it is truncated or damaged, or something else: download or copy it again',
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f'{path} with a {type(content).__name__} inside', 'a dict of tensors', "save the model's state_dict()"
        )
    return content


_ZIP, _PICKLE = b'PK\x03\x04', b'\x80'  # what torch.save writes today, and what any pickle begins with
_LEGACY = b'\x80\x02\x8a\nl\xfc\x9cF'  # what torch.save wrote before torch 1.6


def is_safetensors(path: str | Path) -> bool:
    """Whether a file is of safetensors by its content: the header's length in eight bytes, and the header's brace."""
    head = _head(Path(path).expanduser())
    return head[8:9] == b'{' and int.from_bytes(head[:8], 'little') < 100_000_000  # the format's own limit


def _head(path: Path) -> bytes:
    with open(path, 'rb') as file:
        return file.read(512)


def _refuse_other_kinds(head: bytes, path: Path) -> None:
    """Name the files that come in the place of weights."""
    start = head.lstrip().lower()
    remedy = 'download or copy it again'
    if not head:
        what = 'empty'
    elif start.startswith(b'version https://git-lfs'):
        what, remedy = 'a pointer of Git LFS to the weights', 'fetch them: git lfs pull in its repository'
    elif start.startswith((b'<!doctype', b'<html', b'<?xml')):
        what = 'a web page'
        remedy = 'a server answered so in the place of the weights: open the address in a browser, and download again'
    elif head.startswith((b'\x1f\x8b', b'BZh', b'\xfd7zXZ', b'7z\xbc\xaf')):
        what, remedy = 'a compressed archive', 'unpack it, and give the file inside'
    elif re.fullmatch(rb'[\t\n\r -~]{9,}', head):
        what = f'a text that begins with {head[:40].decode()!r}'
    else:
        return
    raise InputError(f'{path}, which is {what}', 'a weights file, .safetensors, .pth or .pt', remedy)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, unwrapping the usual ``state_dict``/``model`` envelope.

    The prefixes of wrappers, which say nothing of the model, are taken off: ``module.`` of (Distributed)DataParallel
    where all names have it, ``_orig_mod.`` of torch.compile.

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
    return _unwrapped(tensors)


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors = {re.sub(r'(^|\.)_orig_mod\.', r'\1', name): value for name, value in tensors.items()}
    if all(name.startswith('module.') for name in tensors):
        tensors = {name.removeprefix('module.'): value for name, value in tensors.items()}
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
    return _unwrapped({name.removeprefix('student.'): value for name, value in students.items()} or found)


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
    if is_safetensors(path):
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
        InputError: See :func:`read_checkpoint`; also if the metadata are no JSON.
    """
    said = read_metadata(path).get('student', '{}')
    try:
        made_with = json.loads(said)
    except (TypeError, ValueError):
        made_with = None
    if not isinstance(made_with, dict):
        raise InputError(
            f'{path}, whose metadata say student={str(said)[:80]!r}',
            'what builds the student, as JSON, such as {"type": "MinkUNetStudent", "depth": 34}',
            'correct its metadata, or leave student out of them: then the tensors alone must fit',
        )
    if made_with:
        return {**of_version.get(1, {}), **made_with}
    content = read_checkpoint(path)
    states = (content[envelope] for envelope in ('state_dict', 'model') if isinstance(content.get(envelope), dict))
    versions = {}  # by module, without wrappers: an inner one comes after its wrapper and takes its place
    for name, entry in getattr(next(states, content), '_metadata', {}).items():  # safetensors has none
        versions['.'.join(part for part in name.split('.') if part not in ('module', '_orig_mod'))] = entry
    return of_version.get(versions.get('student', versions.get('', {})).get('version'), {})


def check_state_dict(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str | Path, owner: str, remedy: str
) -> None:
    """Refuse weights that do not fit, naming some that are missing, unexpected or of another shape, or not finite.

    Args:
        found (Mapping[str, Tensor]): The weights that came.
        wanted (Mapping[str, Tensor]): The model's own state dict.
        path (str | Path): Where they came from, for the message.
        owner (str): What they should fit, for the message.
        remedy (str): What the user can do.

    Raises:
        InputError: If any name or shape differs; see also :func:`check_finite`.
    """
    problems = {
        'missing': [name for name in wanted if name not in found],
        'unexpected': [name for name in found if name not in wanted],
        'of another shape': [
            f'{name} {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}'
            for name in wanted
            if name in found and found[name].shape != wanted[name].shape
        ],
    }
    expected = f'exactly the {len(wanted)} tensors of {owner}'
    if 2 * len(problems['missing']) > len(wanted):
        _refuse_prefix(found, wanted, path, expected, remedy)
    texts = [f'{len(names)} {what} ({listed(names)})' for what, names in problems.items() if names]
    if texts:
        raise InputError(f'{path} with tensors {"; ".join(texts)}', expected, remedy)
    check_finite(found, path)


def _refuse_prefix(
    found: Collection[str], wanted: Collection[str], path: str | Path, expected: str, remedy: str
) -> None:
    """Name the prefix that one side has and the other has not, in the place of every tensor of both."""
    prefix = _prefix_of(wanted, found)
    if prefix:
        raise InputError(
            f'{path} with the prefix {prefix!r} before the names of its tensors',
            f'{expected}, without the prefix',
            'if they are those, save them under the names without it '
            f'({{name.removeprefix({prefix!r}): tensor for ... if name.startswith({prefix!r})}}); else {remedy}',
        )
    prefix = _prefix_of(found, wanted)
    if prefix:
        raise InputError(
            f'{path} without the prefix {prefix!r} before the names of its tensors', f'{expected}, with it', remedy
        )


def _prefix_of(names: Collection[str], others: Collection[str]) -> str | None:
    """What stands before most of ``names`` in ``others``."""
    prefixes = Counter()
    for other in others:
        parts = other.split('.')
        prefixes.update('.'.join(parts[:cut]) + '.' for cut in range(1, len(parts)) if '.'.join(parts[cut:]) in names)
    prefix, count = max(prefixes.items(), key=lambda item: item[1], default=('', 0))
    return prefix if 2 * count > len(names) else None


def check_finite(tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse weights of which a number is NaN or infinite: such a model answers nothing else, and trains to nothing.

    Args:
        tensors (Mapping[str, Tensor]): Name to tensor; what is no tensor is passed over.
        path (str | Path): Where they came from, for the message.

    Raises:
        InputError: With the name of the first such tensor.
    """
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            continue
        finite = tensor.float().isfinite()  # float32 is what modules hold
        if not finite.all():
            raise InputError(
                f'{path} with {int((~finite).sum())} of {tensor.numel()} numbers of {name} NaN or infinite',
                'finite weights',
                'its training diverged, or the file is damaged: give an earlier checkpoint, or copy it again',
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


def _keep_names(folder: Path) -> None:
    """Bring the names in a folder to the disk: only then may what a new file replaces elsewhere be deleted."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):  # a file system that knows no such thing
            raise
    finally:
        os.close(descriptor)


def _first_line(error: Exception) -> str:
    return str(error).strip().split('\n')[0][:200]
