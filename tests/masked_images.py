"""A made-up set of images with masks."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def write_masked_images(root: Path) -> Path:
    """Three scenes of two images, 56 x 112 px: class 1 on the left, class 2 on the right and brighter."""
    (root / 'images').mkdir(parents=True)
    (root / 'masks').mkdir()
    ids = np.full((56, 112), 1, np.uint8)
    ids[:, 56:] = 2
    for name in (f'{scene:04d}_{frame:04d}_CAM_FRONT' for scene in range(3) for frame in range(2)):
        Image.fromarray(np.repeat(ids[..., None] * 90, 3, 2)).save(root / 'images' / f'{name}.jpg', quality=95)
        Image.fromarray(ids).save(root / 'masks' / f'{name}.png')
    (root / 'classes.json').write_text(json.dumps({0: 'sky', 1: 'road', 2: 'car'}))
    return root
