"""The use of the land along a street."""

import numpy as np

from cleverdistiller.simulation.world.ground import BLOCK_M, LAND_NAMES

SHARES = {'houses': 0.34, 'gardens': 0.32, 'park': 0.14, 'car park': 0.08, 'plaza': 0.09, 'works': 0.03}


def draw_land(rng: np.random.Generator, length_m: float, busy_m: tuple[float, float]) -> np.ndarray:
    """Give each block on each side a use; the rarer uses occur at least once where the car drives.

    Args:
        rng (np.random.Generator): Source of chance.
        length_m (float): Of the street.
        busy_m (tuple[float, float]): Along-positions between which the car drives.

    Returns:
        np.ndarray: (2, K) int rows of ``LAND_NAMES``, left and right.
    """
    count = int(np.ceil(length_m / BLOCK_M))
    shares = np.array([SHARES[name] for name in LAND_NAMES])
    land = rng.choice(len(LAND_NAMES), size=(2, count), p=shares)
    for side in range(2):  # neighbours are often alike
        for k in range(1, count):
            if rng.random() < 0.45:
                land[side, k] = land[side, k - 1]
    first = max(int(busy_m[0] / BLOCK_M) - 1, 0)
    last = min(max(int(busy_m[1] / BLOCK_M) + 2, first + 3), count)
    places = [(side, k) for k in range(first, last) for side in range(2)]
    wanted = ['works', 'car park', 'plaza', 'park']
    for name, at in zip(wanted, rng.permutation(len(places))):
        land[places[at]] = LAND_NAMES.index(name)
    return land
