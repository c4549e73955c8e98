"""What a format's writer must offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from cleverdistiller.simulation.frame import SimulatedFrame
from cleverdistiller.simulation.sensors.rigs import Rig
from cleverdistiller.simulation.world.scene import Scene


def validation_scenes(scenes: int) -> int:
    """How many of a set's scenes, its last ones, are for validation: about a fifth, one at least of several."""
    return max(round(scenes / 5), int(scenes > 1))


class Writer(ABC):
    """Writes simulated frames below a folder as a benchmark would publish them.

    ``write_frame`` runs in worker processes, in any order and perhaps twice for the same frame (after a kill): it
    writes only files of that frame, and the same bytes each time. ``finish`` runs once, at the end, in the main
    process. Nothing depends on the clock or the number of workers.

    Args:
        root (Path): A folder; made with the first file. The constructor writes nothing.
        scenes (int): Number of scenes that will be written.
        frames (int): Keyframes in each.
        seed (int): Of the whole set, for identifiers.
    """

    format: ClassVar[str]
    rig: ClassVar[Rig]

    def __init__(self, root: Path, scenes: int, frames: int, seed: int) -> None:
        self.root, self.scenes, self.frames, self.seed = root, scenes, frames, seed

    @abstractmethod
    def write_frame(self, frame: SimulatedFrame, scene: Scene) -> dict:
        """Write one frame's files; return what ``finish`` needs of it (picklable, small)."""

    @abstractmethod
    def finish(self, records: list[list[dict]]) -> None:
        """Write tables, splits and whatever holds several frames.

        Args:
            records (list[list[dict]]): Of each scene, of each of its frames, what ``write_frame`` returned.
        """
