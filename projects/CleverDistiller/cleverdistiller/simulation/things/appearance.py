"""How materials look to a camera and to a LiDAR. Colours are linear RGB in 0..1."""

import numpy as np

from cleverdistiller.simulation.surfaces import Material

# Material -> colour, LiDAR reflectivity in 0..1, contrast of the surface's texture, its grain in metres.
_TABLE = {
    Material.NONE: ((0.5, 0.5, 0.5), 0.3, 0.0, 1.0),
    Material.ASPHALT: ((0.105, 0.105, 0.11), 0.14, 0.30, 0.9),
    Material.ROAD_PAINT: ((0.66, 0.66, 0.62), 0.65, 0.25, 0.6),
    Material.CONCRETE: ((0.40, 0.39, 0.36), 0.38, 0.20, 1.5),
    Material.PAVING: ((0.33, 0.29, 0.25), 0.30, 0.18, 1.2),
    Material.GRASS: ((0.10, 0.17, 0.04), 0.35, 0.65, 1.1),
    Material.PLASTER: ((0.60, 0.55, 0.45), 0.45, 0.12, 3.0),
    Material.BRICK: ((0.30, 0.12, 0.08), 0.32, 0.25, 1.0),
    Material.FACADE: ((0.55, 0.50, 0.42), 0.40, 0.12, 4.0),
    Material.ROOF: ((0.22, 0.09, 0.06), 0.25, 0.25, 1.5),
    Material.FOLIAGE: ((0.07, 0.14, 0.03), 0.40, 0.85, 0.8),
    Material.BARK: ((0.12, 0.08, 0.05), 0.25, 0.45, 0.5),
    Material.METAL: ((0.30, 0.31, 0.33), 0.40, 0.08, 1.5),
    Material.CAR_PAINT: ((0.35, 0.35, 0.37), 0.45, 0.03, 2.0),
    Material.GLASS: ((0.025, 0.03, 0.035), 0.06, 0.0, 1.0),
    Material.RUBBER: ((0.02, 0.02, 0.02), 0.05, 0.15, 0.4),
    Material.HEADLIGHT: ((0.85, 0.85, 0.80), 0.75, 0.0, 1.0),
    Material.TAILLIGHT: ((0.50, 0.02, 0.02), 0.80, 0.0, 1.0),
    Material.CLOTH_UPPER: ((0.20, 0.15, 0.25), 0.40, 0.20, 0.5),
    Material.CLOTH_LOWER: ((0.06, 0.07, 0.12), 0.30, 0.20, 0.5),
    Material.SKIN: ((0.45, 0.28, 0.20), 0.45, 0.05, 0.5),
    Material.DARK_PLASTIC: ((0.03, 0.03, 0.035), 0.10, 0.08, 1.0),
    Material.ORANGE_PLASTIC: ((0.80, 0.20, 0.02), 0.55, 0.06, 1.0),
    Material.REFLECTIVE_WHITE: ((0.80, 0.80, 0.80), 0.95, 0.03, 1.0),
    Material.SIGN_FACE: ((0.10, 0.20, 0.60), 0.95, 0.0, 1.0),
    Material.YELLOW_PAINT: ((0.75, 0.42, 0.02), 0.50, 0.15, 1.5),
    Material.CANVAS: ((0.55, 0.55, 0.57), 0.45, 0.12, 2.0),
    Material.RED_WHITE: ((0.70, 0.06, 0.05), 0.70, 0.05, 1.0),
    Material.WOOD: ((0.24, 0.16, 0.09), 0.30, 0.35, 0.9),
    Material.COBBLE: ((0.27, 0.25, 0.23), 0.27, 0.25, 0.6),
}


def _column(i: int) -> np.ndarray:
    return np.array([_TABLE[material][i] for material in Material], np.float32)


COLOUR = _column(0)  # (materials, 3)
REFLECTIVITY = _column(1)
CONTRAST = _column(2)
GRAIN_M = _column(3)
