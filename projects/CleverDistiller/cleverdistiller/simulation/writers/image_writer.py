"""Images with a class for each pixel: what a camera-only annotated set gives."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from PIL import Image

from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.simulation.frame import SimulatedFrame
from cleverdistiller.simulation.sensors.rigs import NUSCENES
from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.world.scene import Scene
from cleverdistiller.simulation.writers.writer import Writer

FRAME_S = 2.0  # the car drives ten to twenty metres, so that no image is nearly another one
JPEG_QUALITY = 90


class ImageWriter(Writer):
    """Writes ``images/SCENE_FRAME_CAMERA.jpg``, a mask of the same size and name for each, and their classes.

    ``masks/*.png`` has 8 bits: the id of a class in ``classes.json`` (id to name). No LiDAR file is written. The car's
    cameras are those of nuScenes.
    """

    format = 'images'
    rig = replace(NUSCENES, frame_s=FRAME_S, sweeps_between=0)
    tells_intrinsics = True  # nothing here needs any

    def write_frame(self, frame: SimulatedFrame, scene: Scene) -> dict:
        """Write a frame's images and masks.

        Args:
            frame (SimulatedFrame): The frame.
            scene (Scene): Not used; other formats need it.

        Returns:
            dict: Empty: the folder's listing is the index.
        """
        for camera, image in frame.images.items():
            name = f'{frame.scene:04d}_{frame.index:04d}_{camera}'
            with replace_when_complete(self.root / 'images' / f'{name}.jpg') as path:
                Image.fromarray(image.rgb).save(path, 'JPEG', quality=JPEG_QUALITY)
            with replace_when_complete(self.root / 'masks' / f'{name}.png') as path:
                Image.fromarray(image.surface.astype(np.uint8)).save(path, 'PNG')
        return {}

    def finish(self, records: list[list[dict]]) -> None:
        """Write the names of the classes.

        Args:
            records (list[list[dict]]): Not used.
        """
        names = {int(surface): surface.name.lower() for surface in SurfaceClass}
        with replace_when_complete(self.root / 'classes.json') as path:
            path.write_text(json.dumps(names, indent=1) + '\n')
