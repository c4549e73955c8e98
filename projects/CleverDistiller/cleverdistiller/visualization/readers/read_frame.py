"""Any frame of any format: finds out the format and calls its reader, which alone imports what it needs."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import visible_paths
from cleverdistiller.provenance import is_simulated
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.readers.files import record_files

# Format -> whether a root looks like it, and how such a root is described. The first that fits is taken: a benchmark's
# own layout goes before the info files that a converter may have put beside it.
FORMATS: dict[str, tuple[Callable[[Path], bool], str]] = dict(
    nuscenes=(lambda root: any(visible_paths(root, 'v1.0-*/sample.json')), 'v1.0-*/sample.json'),
    kitti=(lambda root: (root / 'training' / 'velodyne').is_dir(), 'training/velodyne/'),
    semantickitti=(lambda root: any(visible_paths(root, 'sequences/*/velodyne')), 'sequences/NN/velodyne/'),
    waymo=(lambda root: bool(record_files(root)), '*.tfrecord or */*.tfrecord'),
    info=(lambda root: root.suffix == '.pkl' or any(visible_paths(root, '*.pkl')), "an mmdet3d v2 info file '*.pkl'"),
)


def read_frame(root: str | Path, index: int, format: str = 'auto', version: str | None = None) -> FrameView:
    """Read one frame.

    Args:
        root (str | Path): A benchmark's folder; for ``waymo`` also one ``.tfrecord``, for ``info`` also one ``.pkl``.
        index (int): Number of the frame, from 0, in the reader's order.
        format (str): One of ``FORMATS``, or ``auto``.
        version (str | None): Of nuScenes' tables, where a root holds more than one.

    Returns:
        FrameView: The frame.

    Raises:
        InputError: If the root is of no such format, has no such frame, or a file of the frame is missing or damaged.
    """
    root = Path(root)
    if format == 'auto':
        format = detect_format(root)
    if format not in FORMATS:
        raise InputError(f'format {format!r}', f'auto or one of {", ".join(FORMATS)}', 'choose one of these')
    fits, looks = FORMATS[format]
    if not fits(root):
        raise InputError(f'{root}', f'a {format} root, which holds {looks}', 'check the path, or try --format auto')
    if version is not None and format != 'nuscenes':
        raise InputError(f'version {version!r} of a {format} root', 'a version with nuscenes only', 'leave it out')
    options = dict(version=version) if format == 'nuscenes' else {}
    view = import_module(f'cleverdistiller.visualization.readers.{format}').read(root, index, **options)
    # A part of a root (one record, one info file, a split's folder) is as simulated as the root.
    folders = [root, *root.resolve().parents[:2]]
    return replace(view, simulated=any(map(is_simulated, folders)))


def detect_format(root: Path) -> str:
    """Name the format that a root looks like.

    Raises:
        InputError: If it looks like none.
    """
    if not root.exists():
        raise InputError(f'{root}, which does not exist', "a benchmark's folder", 'check the path')
    for format, (fits, _) in FORMATS.items():
        if fits(root):
            return format
    known = '; '.join(f'{format}: {looks}' for format, (_, looks) in FORMATS.items())
    raise InputError(f'{root}, a folder of no known format', known, 'give the folder that holds one of these')
