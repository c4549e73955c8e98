"""What made a result, and the JSON file that says so beside the numbers."""

import json
import math
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete

SIMULATION_MARK = 'simulation.json'  # tools/simulate.py leaves it in the roots that it makes


def is_simulated(root: str | Path) -> bool:
    """Whether a folder of data was simulated, or made from simulated data."""
    return (Path(root) / SIMULATION_MARK).is_file()


def refuse_unfinished(root: str | Path) -> None:
    """Refuse a simulated set that is still being written, or whose writing was stopped: a part would pass for it all.

    Args:
        root (str | Path): Folder of any data.

    Raises:
        InputError: If its mark says so.
    """
    try:
        mark = json.loads((Path(root) / SIMULATION_MARK).read_text())
    except (OSError, ValueError):
        return
    if isinstance(mark, dict) and mark.get('complete') is False:
        raise InputError(
            f'{root}, a simulated set that is not complete',
            'one that tools/simulate.py has finished',
            'run the same tools/simulate.py command again: it goes on where it stopped',
        )


def pass_the_mark_on(root: Path, out: Path) -> None:
    """What is made of a simulated root is as simulated as itself, and says so."""
    if is_simulated(root):
        with replace_when_complete(out / SIMULATION_MARK) as temporary:
            shutil.copyfile(root / SIMULATION_MARK, temporary)


def versions() -> dict[str, str]:
    """Versions of the packages that a number depends on."""
    return {name: version(name) for name in ('cleverdistiller', 'mmdet3d', 'torch')}


def write_results(path: str | Path, numbers: Mapping[str, float], made_from: Mapping) -> None:
    """Write a JSON object: the numbers first, then ``made_from``.

    Args:
        path (str | Path): The file.
        numbers (Mapping[str, float]): Name to value. NaN and infinity, which JSON does not know, become null.
        made_from (Mapping): Config, checkpoint, seed, versions, ...: plain values.
    """
    finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    text = json.dumps({**finite, 'made_from': dict(made_from)}, indent=2, allow_nan=False)
    with replace_when_complete(path) as temporary:
        temporary.write_text(text + '\n')
