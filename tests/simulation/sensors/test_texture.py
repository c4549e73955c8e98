import numpy as np
import pytest

from cleverdistiller.simulation.sensors import texture
from cleverdistiller.simulation.sensors.texture import clouds, surface_coordinates


@pytest.mark.parametrize('count', [0, 1, 4096, 9000])
def test_noise_is_that_of_the_tile_for_any_number_of_places(count):
    rng = np.random.default_rng(0)
    a, b = rng.integers(-5000, 5000, (2, count)).astype(float) / texture.TEXELS_PER_GRAIN
    tile = texture._tile()
    column, row = (np.round(x * texture.TEXELS_PER_GRAIN).astype(int) % texture.TILE for x in (a, b))
    assert np.allclose(texture._noise(a, b), tile[row, column], atol=2e-2)


def test_the_tile_fits_itself_and_fills_its_range():
    tile = texture._tile()
    steps = np.abs(np.diff(tile, axis=1)).mean()
    assert np.abs(tile[:, 0] - tile[:, -1]).mean() < 1.5 * steps
    assert tile.min() >= -1 and tile.max() <= 1 and tile.std() > 0.3
    assert clouds(np.zeros(0), np.zeros(0)).shape == (0,)


def test_coordinates_run_along_walls_and_lie_flat_on_the_ground():
    wall = np.array([[1.0, 0.0, 0.0]] * 2)
    a, b = surface_coordinates(np.array([[5.0, 1.0, 2.0], [5.0, 4.0, 2.5]]), wall)
    assert np.diff(a) == pytest.approx(3.0, rel=1e-3) and b.tolist() == [2.0, 2.5]
    a, b = surface_coordinates(np.array([[5.0, 1.0, 2.0]]), np.array([[0.0, 0.0, 1.0]]))
    assert (a[0], b[0]) == (5.0, 1.0)
