"""Which frames of a training set a run may see: a small JSON file that can be published."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete

MAKER = 'tools/splits.py'
SHIPPED = Path(__file__).parents[4]  # the repository, whose configs name its lists by configs/splits/...


@dataclass(frozen=True)
class FrameList:
    """Some frames of one training set.

    Args:
        dataset (str): ``name`` of the dataset's class.
        mode (str): Rule that chose the frames: ``uniform``, ``stride`` or ``scene``; ``public`` for a list that others
            published.
        seed (int): Of the rule; which one of their lists for ``public``.
        percent (str): Share that was asked for, such as ``'1'`` or ``'0.5'``.
        of (int): Frames in the whole training set.
        fingerprint (str): See :func:`fingerprint` of the whole training set.
        frames (tuple[str, ...]): The chosen frames' ids, sorted.
    """

    dataset: str
    mode: str
    seed: int
    percent: str
    of: int
    fingerprint: str
    frames: tuple[str, ...]

    @classmethod
    def read(cls, path: str | Path) -> FrameList:
        """Open a frame list.

        Args:
            path (str | Path): The file; a relative one that is not in the working directory is looked for in the
                repository, beside whose configs lists are shipped.

        Raises:
            InputError: If it is missing, damaged, without frames, or if a frame comes twice.
        """
        path = Path(path)
        if not path.is_file() and (SHIPPED / path).is_file():
            path = SHIPPED / path
        if not path.is_file():
            raise InputError(
                f'frame list {path}, which is not a file in {Path.cwd()}, nor one shipped in {SHIPPED}'
                if not path.is_absolute()
                else f'frame list {path}, which is not a file',
                'a frame list',
                f'check the path, or make the list with {MAKER}',
            )
        try:
            content = json.loads(path.read_text())
            found = cls(**{**content, 'frames': tuple(content['frames'])})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f'frame list {path}, which cannot be read ({error})', f'a file of {MAKER}', 'make it again'
            ) from error
        if not found.frames:
            raise InputError(
                f'frame list {path} without frames',
                'at least one frame',
                f'make it again with {MAKER} and a larger share',
            )
        if not all(isinstance(frame, str) for frame in found.frames) or len(set(found.frames)) < len(found.frames):
            raise InputError(
                f'frame list {path} with frames that have no name or come twice',
                'the id of each frame once',
                f'make it again with {MAKER}',
            )
        return found

    @property
    def name(self) -> str:
        """What its file is called, without ``.json``: only ``uniform`` and ``public`` have a seed."""
        if self.mode == 'public':
            return f'public_{self.percent}_{self.seed}'
        return f'{self.mode}{self.seed if self.mode == "uniform" else ""}_{self.percent}'

    def to_json(self) -> str:
        """Content of its file, one frame a line."""
        return json.dumps(asdict(self), indent=1) + '\n'

    def write(self, path: str | Path) -> None:
        """Write its file."""
        with replace_when_complete(path) as temporary:
            temporary.write_text(self.to_json())

    def rows(self, dataset: str, ids: Sequence[str], info_file: str) -> list[int]:
        """Where the frames stand in a training set.

        Args:
            dataset (str): ``name`` of the dataset's class.
            ids (Sequence[str]): Every frame of the training set.
            info_file (str): Where they came from, for the message.

        Returns:
            list[int]: Rows of ``ids``, ascending.

        Raises:
            InputError: If the list was made for another training set.
        """
        problem = None
        strangers = sorted(set(self.frames) - set(ids))
        if dataset != self.dataset:
            problem = f'of {self.dataset} for {dataset}'
        elif len(ids) != self.of:
            problem = f'of a training set of {self.of} frames for one of {len(ids)}'
        elif strangers:
            problem = f'of other frames, such as {strangers[0]}'
        elif fingerprint(ids) != self.fingerprint:
            problem = 'of a training set with other frames'
        if problem:
            raise InputError(
                f'the frame list {self.name} {problem} ({info_file})',
                'the list that was made for this training set',
                f'make one with {MAKER} {info_file}, or choose another info file',
            )
        chosen = frozenset(self.frames)
        return [row for row, frame in enumerate(ids) if frame in chosen]


def fingerprint(ids: Sequence[str]) -> str:
    """SHA-256 of all frame ids, sorted: the same for the same frames in any order."""
    return hashlib.sha256('\n'.join(sorted(ids)).encode()).hexdigest()
