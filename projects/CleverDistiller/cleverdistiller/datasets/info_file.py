"""Reading and writing mmdet3d's v2 info files."""

import os.path as osp
import pickle
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.plain_pickle import read_plain_pickle


def read_infos(path: str, maker: str) -> Mapping:
    """Read an info file or say what is wrong with it.

    Args:
        path (str): A ``.pkl`` with ``metainfo`` and ``data_list``.
        maker (str): The tool that makes it, for the remedy.

    Returns:
        Mapping: Its content, with at least one frame.

    Raises:
        InputError: If it is missing, damaged, of another version, or empty, or could run code.
    """
    if not osp.isfile(path):
        raise InputError(
            f'{path}, which is not a file',
            'an mmdet3d v2 info file',
            f'make it with {maker}, or set data_root and ann_file',
        )
    infos = read_plain_pickle(path, 'an mmdet3d v2 info file', f'rebuild it with {maker}')
    if not isinstance(infos, Mapping) or not {'metainfo', 'data_list'} <= infos.keys():
        found = sorted(map(str, infos)) if isinstance(infos, Mapping) else type(infos).__name__
        raise InputError(
            f'{path} of another version, with {found}',
            'metainfo and data_list (mmdet3d >= 1.1, info version 1.x)',
            f"rebuild it with {maker}, or convert it with mmdet3d's tools/dataset_converters/update_infos_to_v2.py",
        )
    if not infos['data_list']:
        raise InputError(f'{path} without frames', 'at least one frame', f'rebuild it with {maker}')
    return infos


def write_infos(infos: Mapping[Path, dict]) -> None:
    """Write info files; older ones stay until all the new ones are complete.

    Args:
        infos (Mapping[Path, dict]): File to content.

    Raises:
        InputError: If they cannot be written.
    """
    try:
        with ExitStack() as stack:
            for path, content in infos.items():
                temporary = stack.enter_context(replace_when_complete(path))
                with open(temporary, 'wb') as file:
                    pickle.dump(content, file, protocol=4)
    except OSError as error:
        raise InputError(
            f'{error.filename or path}, which cannot be written ({error.strerror})',
            'a writable folder with space',
            'choose another with --out',
        ) from error
