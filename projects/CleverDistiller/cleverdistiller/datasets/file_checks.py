"""Are the files of a download whole? As far as their sizes tell: none is opened."""

import os.path as osp
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from tqdm import tqdm

from cleverdistiller.errors import InputError


def size_fault(path: str | Path, row_bytes: int = 1) -> str | None:
    """Say what is wrong with a file, as far as its size tells.

    Args:
        path (str | Path): The file.
        row_bytes (int): Its size must be a multiple of this.

    Returns:
        str | None: ``'missing'``, ``'empty'``, ... or None if nothing is wrong.
    """
    if not osp.isfile(path):
        return 'missing'
    size = osp.getsize(path)
    if size == 0:
        return 'empty'
    if size % row_bytes:
        return f'truncated: {size} bytes are no multiple of {row_bytes}'
    return None


def find_faults(files: Collection[str], fault_of: Callable[[str], str | None], title: str) -> dict[str, str]:
    """Check files one by one, with a progress bar.

    Args:
        files (Collection[str]): Names below the root.
        fault_of (Callable[[str], str | None]): What is wrong with one of them, as :func:`size_fault` says it.
        title (str): For the progress bar.

    Returns:
        dict[str, str]: Each bad file's fault.
    """
    faults = {name: fault_of(name) for name in tqdm(files, desc=f'checking {title}', unit='file', disable=not files)}
    return {name: fault for name, fault in faults.items() if fault}


def refuse_faults(root: Path, faults: Mapping[str, str], checked: int, hint: str = '') -> None:
    """Raise if any file is bad.

    Args:
        root (Path): Folder of the download.
        faults (Mapping[str, str]): See :func:`find_faults`.
        checked (int): Number of files that were looked at.
        hint (str): A sentence to end the remedy with.

    Raises:
        InputError: Counts the bad files and names the first five.
    """
    if not faults:
        return
    first = ''.join(f'\n    {name} ({fault})' for name, fault in list(faults.items())[:5])
    raise InputError(
        f'{len(faults)} bad files of {checked} in {root}, such as{first}',
        'every file that the index names, whole',
        f'download or copy them again into {root}; nothing was written' + (f'. {hint}' if hint else ''),
    )
