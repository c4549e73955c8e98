"""What a format's writer must offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from cleverdistiller.errors import InputError
from cleverdistiller.simulation.frame import SimulatedFrame
from cleverdistiller.simulation.sensors.rigs import Rig, with_smaller_images
from cleverdistiller.simulation.world.scene import Scene

LEAST_IMAGE_SCALE = 0.1


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
    rig: Rig
    tells_intrinsics: ClassVar[bool] = False  # whether its readers learn size and intrinsics of an image from the set

    def __init__(self, root: Path, scenes: int, frames: int, seed: int) -> None:
        self.root, self.scenes, self.frames, self.seed = root, scenes, frames, seed

    def adjust_rig(self, image_scale: float = 1.0, sweeps: bool = True) -> None:
        """Take a lighter car than the benchmark's.

        Args:
            image_scale (float): Rows and columns of the images are multiplied by it.
            sweeps (bool): Store the LiDAR sweeps between keyframes, where the format has any.

        Raises:
            InputError: If the scale is out of range, or the format cannot do without what is to be left out.
        """
        if not LEAST_IMAGE_SCALE <= image_scale <= 1:
            raise InputError(f'--image-scale {image_scale}', f'{LEAST_IMAGE_SCALE} to 1', 'say 0.5, for example')
        if image_scale != 1:
            if not self.tells_intrinsics:
                raise InputError(
                    f'--image-scale {image_scale} with --format {self.format}',
                    'images of the size that its calibration is for',
                    'leave it out, or choose --format nuscenes or images',
                )
            self.rig = with_smaller_images(self.rig, image_scale)
        if not sweeps:
            if not self.rig.sweeps_between:
                raise InputError(
                    f'--no-sweeps with --format {self.format}',
                    'a format with sweeps between its keyframes',
                    'leave it out: there are none',
                )
            self.rig = replace(self.rig, sweeps_between=0)

    @abstractmethod
    def write_frame(self, frame: SimulatedFrame, scene: Scene) -> dict:
        """Write one frame's files; return what ``finish`` needs of it (picklable, small)."""

    @abstractmethod
    def finish(self, records: list[list[dict]]) -> None:
        """Write tables, splits and whatever holds several frames.

        Args:
            records (list[list[dict]]): Of each scene, of each of its frames, what ``write_frame`` returned.
        """
