import dataclasses

import numpy as np
import pytest

from cleverdistiller.simulation.frame import CameraImage, LidarScan, ObjectState
from cleverdistiller.simulation.surfaces import SurfaceClass

COLUMNS = ('intensity', 'ring', 'column', 'fired_s', 'range_m', 'surface', 'instance', 'echo')
SCAN = LidarScan(0.0, np.eye(4), np.zeros((4, 3)), *(np.zeros(4) for _ in COLUMNS))
PICTURE = (np.zeros((3, 5, 3)), np.zeros((3, 5)), np.zeros((3, 5)), np.zeros((3, 5)))
IMAGE = CameraImage(0.0, np.eye(4), *PICTURE, visible_px={})


@pytest.mark.parametrize('name', COLUMNS)
def test_a_scan_has_every_value_for_every_point(name):
    with pytest.raises(ValueError, match=rf'LidarScan\.{name}: got \(3,\)'):
        dataclasses.replace(SCAN, **{name: np.zeros(3)})


@pytest.mark.parametrize('name', ['depth_m', 'surface', 'instance'])
def test_a_picture_has_every_value_for_every_pixel(name):
    with pytest.raises(ValueError, match=rf'CameraImage\.{name}'):
        dataclasses.replace(IMAGE, **{name: np.zeros((5, 3))})


def test_a_box_holds_what_lies_in_it_as_it_is_turned():
    box = ObjectState(
        0.0, 1, SurfaceClass.CAR, np.array([10.0, 5, 1]), np.array([4.0, 2, 1.5]), np.pi / 2, np.zeros(3), False
    )
    points = np.array([[10, 6.9, 1], [10, 7.1, 1], [10.9, 5, 1], [11.1, 5, 1], [10, 5, 1.74], [10, 5, 1.76]])
    assert box.contains(points).tolist() == [True, False, True, False, True, False]
