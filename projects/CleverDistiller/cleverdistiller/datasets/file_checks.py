"""Are the files of a download whole, as far as their sizes tell, and can the values of a scan be?"""

import os.path as osp
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cleverdistiller.errors import InputError

# No LiDAR reaches further than the first. Beyond the second, float32 rounds to centimetres, and cells of 5 cm in a cube
# can no longer be numbered: map coordinates, not a sensor's.
UNLIKELY_DISTANCE_M, IMPOSSIBLE_DISTANCE_M = 1_000.0, 100_000.0
FEW_POINTS = 1_000  # of so few, all may be dark


def points_fault(points: np.ndarray) -> str | None:
    """Say what of a scan's values cannot be, whatever the sensor.

    A file read with another number of columns than it has shows here: its coordinates come as intensities.

    Args:
        points (np.ndarray): (N, 4 or more) x, y, z in metres and intensity, as stored; N at least 1.

    Returns:
        str | None: ``'3 of 900 points that are NaN or infinite'``, ... or None.
    """
    low, high = _extremes(points)
    if not (np.isfinite(low) & np.isfinite(high)).all():
        bad = (~np.isfinite(points[:, :4])).any(1).sum()
        return f'{bad} of {len(points)} points that are NaN or infinite'
    if (farthest := float(max(high[:3].max(), -low[:3].min()))) > IMPOSSIBLE_DISTANCE_M:
        return f'a coordinate of {farthest:g} m'
    if low[3] < -1:
        return f'the intensity {low[3]:g}, as of columns that are not x, y, z, intensity'
    return None


def points_doubts(points: np.ndarray, intensity_scale: float | None) -> dict[str, str]:
    """Say what of a scan's values is unlikely; the scan is otherwise sound (:func:`points_fault`).

    Args:
        points (np.ndarray): (N, 4 or more) x, y, z in metres and intensity, as stored; N at least 1.
        intensity_scale (float | None): Factor that brings stored intensities to 0..1; None if no factor does.

    Returns:
        dict[str, str]: Kind of doubt to the doubt.
    """
    low, high = _extremes(points)
    doubts = {}
    if (farthest := float(max(high[:3].max(), -low[:3].min()))) > UNLIKELY_DISTANCE_M:
        doubts['distance'] = f'a coordinate of {farthest:g} m: metres are expected, not millimetres'
    if intensity_scale:
        brightest = float(high[3]) * intensity_scale
        bound = f'{1 / intensity_scale:g}, the largest with intensity_scale={intensity_scale:g}'
        if brightest > 1.001:
            doubts['bright'] = f'intensities up to {high[3]:g} instead of {bound}'
        elif 0 < brightest < 0.01 and len(points) >= FEW_POINTS:
            doubts['dark'] = f'intensities up to {high[3]:g} only, of {bound}'
    if low[3] < 0:
        doubts['negative'] = f'the intensity {low[3]:g}, which is negative'
    return doubts


def _extremes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(4,) least and (4,) most of x, y, z and intensity; of NaN, NaN. Of rows, numpy takes tenfold the time."""
    columns = np.ascontiguousarray(points[:, :4].T)
    return columns.min(1), columns.max(1)


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
