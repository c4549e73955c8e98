import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cleverdistiller.simulation.run import SimulatedSet, simulate
from cleverdistiller.simulation.sensors.recording import simulate_frame
from cleverdistiller.simulation.sensors.rigs import with_smaller_images
from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.world.scene import Scene
from cleverdistiller.simulation.writers.image_writer import ImageWriter


class SmallImages(ImageWriter):
    """A tenth of the rows and columns, a coarse LiDAR."""

    rig = replace(
        with_smaller_images(ImageWriter.rig, 0.1), lidar=replace(ImageWriter.rig.lidar, columns=50), frame_s=1.0
    )


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp('images') / 'set'
    assert simulate(SimulatedSet('images', scenes=2, frames=1, seed=1000), out, 1, SmallImages)
    return out


def test_it_writes_an_image_and_a_mask_for_each_camera_and_nothing_of_the_lidar(root):
    files = sorted(str(path.relative_to(root)) for path in root.rglob('*') if path.is_file())
    names = [f'{scene:04d}_0000_{camera.name}' for scene in range(2) for camera in SmallImages.rig.cameras]
    images, masks = (
        [f'{folder}/{name}.{kind}' for name in names] for folder, kind in (('images', 'jpg'), ('masks', 'png'))
    )
    assert files == sorted(['classes.json', 'simulation.json', *images, *masks])
    assert json.loads((root / 'simulation.json').read_text())['simulated']


def test_the_mask_tells_what_each_pixel_shows(root):
    names = {int(number): name for number, name in json.loads((root / 'classes.json').read_text()).items()}
    assert names == {surface.value: surface.name.lower() for surface in SurfaceClass}
    frame = simulate_frame(Scene(1000, 1, SmallImages.rig.frame_s), SmallImages.rig, 0)
    for camera, image in frame.images.items():
        mask = Image.open(root / 'masks' / f'0001_0000_{camera}.png')
        assert mask.mode == 'L' and np.array_equal(np.asarray(mask), image.surface)
        picture = Image.open(root / 'images' / f'0001_0000_{camera}.jpg')
        assert picture.size == mask.size
        assert np.abs(np.asarray(picture, int) - image.rgb).mean() < 8
    sky = np.asarray(Image.open(root / 'masks' / '0001_0000_CAM_FRONT.png')) == SurfaceClass.SKY
    assert sky[:20].mean() > sky[-20:].mean() == 0


def test_frames_are_seconds_apart_and_seeds_are_other_streets():
    assert ImageWriter.rig.frame_s >= 2
    moving = [
        {actor.along_m for actor in Scene(seed, 0, 1.0).actors.values() if any(actor.speed_mps)} for seed in (1000, 0)
    ]
    assert all(moving) and not moving[0] & moving[1]
