"""Cars, trucks, buses, trailers and construction vehicles.

x forward, y left, z up; metres. Numbers are proportions of real vehicles, drawn at random within their usual spread.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cleverdistiller.simulation.surfaces import Material, SurfaceClass
from cleverdistiller.simulation.things.assembly import Assembly
from cleverdistiller.simulation.things.mesh import Mesh
from cleverdistiller.simulation.things.shapes import loft

Colours = dict[Material, tuple[float, float, float]]

# Colour and its share of the cars on the road, in hundredths.
_CAR_PAINTS = (
    ((0.84, 0.84, 0.84), 26),
    ((0.10, 0.10, 0.11), 22),
    ((0.38, 0.39, 0.41), 17),
    ((0.68, 0.69, 0.71), 13),
    ((0.12, 0.20, 0.42), 9),
    ((0.55, 0.07, 0.08), 7),
    ((0.45, 0.38, 0.30), 3),
    ((0.15, 0.28, 0.20), 2),
    ((0.80, 0.65, 0.15), 1),
)
_TRUCK_PAINTS = ((0.88, 0.88, 0.88), (0.65, 0.10, 0.10), (0.12, 0.25, 0.50), (0.80, 0.60, 0.12), (0.20, 0.22, 0.24))
_CANVASES = ((0.86, 0.86, 0.84), (0.20, 0.33, 0.55), (0.60, 0.16, 0.15), (0.55, 0.58, 0.60), (0.22, 0.40, 0.28))
_BUS_PAINTS = ((0.85, 0.80, 0.15), (0.70, 0.10, 0.12), (0.90, 0.90, 0.90), (0.15, 0.35, 0.60), (0.20, 0.45, 0.30))


@dataclass(frozen=True)
class _CarShape:
    """Side view of a kind of car; positions are shares of its length from the front bumper, heights metres."""

    length_m: tuple[float, float]  # least and most
    body_width_m: tuple[float, float]
    height_m: tuple[float, float]
    nose_m: float  # upper edge of the bonnet at the very front
    belt_m: float  # lower edge of the windows
    tail_m: float  # upper edge of the body at the very back
    cowl: float  # foot of the windscreen
    roof_front: float
    roof_back: float
    window_back: float  # foot of the rear window
    axles: tuple[float, float]
    wheel_radius_m: float
    side_windows: tuple[float, ...]  # where the pillars between them are


_SEDAN = _CarShape(
    (4.5, 4.9), (1.70, 1.78), (1.43, 1.49), 0.70, 0.93, 0.96, 0.29, 0.43, 0.67, 0.83, (0.185, 0.785), 0.33, (0.56,)
)
_ESTATE = _CarShape(
    (4.5, 4.85),
    (1.70, 1.78),
    (1.46, 1.52),
    0.70,
    0.93,
    0.94,
    0.28,
    0.42,
    0.89,
    0.975,
    (0.185, 0.785),
    0.33,
    (0.54, 0.76),
)
_HATCHBACK = _CarShape(
    (4.15, 4.4), (1.66, 1.74), (1.45, 1.53), 0.72, 0.94, 0.93, 0.265, 0.42, 0.86, 0.97, (0.195, 0.82), 0.32, (0.60,)
)
_SUV = _CarShape(
    (4.45, 4.85),
    (1.76, 1.82),
    (1.64, 1.78),
    0.90,
    1.08,
    1.06,
    0.275,
    0.40,
    0.90,
    0.98,
    (0.19, 0.80),
    0.37,
    (0.55, 0.77),
)
_VAN = _CarShape(
    (4.95, 5.3),
    (1.84, 1.90),
    (1.95, 2.15),
    0.90,
    1.14,
    1.16,
    0.135,
    0.285,
    0.975,
    0.995,
    (0.175, 0.775),
    0.35,
    (0.43, 0.71),
)
# A car's corners seen from above: share of the length from its end, share of the half width.
_NOSE_OUTLINE = ((0.0, 0.74), (0.012, 0.84), (0.045, 0.94))
_TAIL_OUTLINE = ((0.0, 0.88), (0.008, 0.93), (0.03, 0.97))
_CAR_SHAPES = ((_SEDAN, 0.32), (_HATCHBACK, 0.26), (_SUV, 0.24), (_ESTATE, 0.10), (_VAN, 0.08))


def car(rng: np.random.Generator) -> tuple[Mesh, Colours]:
    """A sedan, hatchback, estate, SUV or van.

    Args:
        rng (np.random.Generator): Decides all that differs between two of them.

    Returns:
        tuple[Mesh, Colours]: Metres, x forward, standing on z = 0; RGB in 0..1 as a screen shows it.
    """
    shape = _CAR_SHAPES[rng.choice(len(_CAR_SHAPES), p=[share for _, share in _CAR_SHAPES])][0]
    length, width, height = (rng.uniform(*span) for span in (shape.length_m, shape.body_width_m, shape.height_m))
    parts = Assembly(SurfaceClass.CAR)
    x_of = lambda share: length * (0.5 - share)
    _add_car_body(parts, shape, length, width)
    _add_cabin(parts, shape, x_of, width, height)
    radius = shape.wheel_radius_m
    parts.wheels(radius, 0.2, [x_of(share) for share in shape.axles], width / 2 - 0.12)
    _add_car_ends(parts, shape, length, width)
    colours, shares = zip(*_CAR_PAINTS)
    return parts.mesh(), {Material.CAR_PAINT: colours[rng.choice(len(colours), p=np.array(shares) / 100)]}


def _add_car_body(parts: Assembly, shape: _CarShape, length: float, width: float) -> None:
    """Everything below the windows, lofted from front to back, with arches over the wheels."""
    # Share of the length, upper edge, share of the width. The corners are rounded as seen from above.
    belt, mid_bonnet = shape.belt_m, (0.3 * shape.nose_m + 0.7 * shape.belt_m)
    nose = zip(_NOSE_OUTLINE, (shape.nose_m - 0.05, shape.nose_m, shape.nose_m + 0.03))
    tail = zip(_TAIL_OUTLINE, (shape.tail_m - 0.1, shape.tail_m - 0.04, shape.tail_m - 0.02))
    outline = np.array(
        [
            *[(share, top, wide) for (share, wide), top in nose],
            (shape.cowl * 0.6, mid_bonnet, 0.985),
            (shape.cowl, belt, 1.0),
            (shape.window_back - 0.15, belt + 0.01, 1.0),
            (min(shape.window_back, 0.955), shape.tail_m, 0.985),
            *[(1 - share, top, wide) for (share, wide), top in reversed(list(tail))],
        ]
    )
    radius = shape.wheel_radius_m
    arch = radius + 0.06
    # At an arch's rim two stations lie a millimetre apart: the sill ends there with an upright edge.
    steps = np.concatenate([[-arch - 1e-3], arch * np.cos(np.linspace(np.pi, 0, 7)), [arch + 1e-3]])
    stations = np.concatenate([length * outline[:, 0], *[length * axle + steps for axle in shape.axles]])
    stations = np.unique(np.round(stations, 4))
    top = np.interp(stations, length * outline[:, 0], outline[:, 1])
    half = np.interp(stations, length * outline[:, 0], outline[:, 2]) * width / 2
    sill = np.interp(stations / length, [0, 0.03, 0.1, 0.9, 0.97, 1], [0.32, 0.24, 0.2, 0.2, 0.26, 0.36])
    for axle in shape.axles:
        off = stations - length * axle
        under = np.abs(off) <= arch + 1e-9
        sill[under] = np.maximum(sill[under], radius + np.sqrt(np.maximum(arch**2 - off[under] ** 2, 0)))
    sill = np.minimum(sill, top - 0.16)
    waist = np.maximum(0.55 * top + 0.05, sill + 0.04)
    rows = [(0.93, sill), (1.0, 0.75 * sill + 0.25 * waist), (1.0, waist), (0.97, top - 0.05), (0.92, top)]
    side = np.stack([np.stack([length / 2 - stations, half * share, z], -1) for share, z in rows], 1)
    skin = loft(np.concatenate([side, side[:, ::-1] * (1, -1, 1)], 1), parts.surface, Material.CAR_PAINT)
    # Between the lowest points of both sides: the underside, dark in the arches.
    points = 2 * len(rows)
    below = (np.isin(skin.triangles % points, (0, points - 1)) & (skin.triangles < points * len(stations))).all(1)
    material = np.where(below, Material.DARK_PLASTIC, skin.material).astype(np.uint8)
    parts.add(Mesh(skin.vertices_m, skin.triangles, skin.surface, material))
    # What is seen behind the wheels, and dark sills below the doors.
    front, back = (length * (0.5 - axle) for axle in shape.axles)
    inner = (front - back + 2 * arch + 0.1, width - 0.5, min(2 * radius, shape.nose_m - 0.12) - 0.17)
    parts.box(inner, ((front + back) / 2, 0, 0.17 + inner[2] / 2), Material.DARK_PLASTIC)
    parts.box((front - back - 2 * arch - 0.02, width - 0.05, 0.1), ((front + back) / 2, 0, 0.22), Material.DARK_PLASTIC)


def _add_cabin(parts: Assembly, shape: _CarShape, x_of, width: float, height: float) -> None:
    """Roof and pillars, narrower at the top, and panes that stand proud of them by a centimetre."""
    foot, low, high = shape.belt_m - 0.04, width * 0.91, width * 0.74
    if shape is _VAN:
        high = width * 0.84
    crown = height - 0.05  # where the roof begins to curve
    front, roof_front, roof_back, back = map(x_of, (shape.cowl, shape.roof_front, shape.roof_back, shape.window_back))
    middle = 0.55 * roof_front + 0.45 * roof_back
    profile = [(front, foot), (roof_front, crown), (roof_front - 0.25, height - 0.015), (middle, height)]
    profile += [(roof_back + 0.25, height - 0.02), (roof_back, crown - 0.02), (back, foot)]
    parts.extrude(profile, low, Material.CAR_PAINT, top_width_m=high)
    half_at = lambda z: (low + (high - low) * (z - foot) / (height - foot)) / 2
    z_low, z_high = shape.belt_m + 0.04, crown - 0.045
    # Slanted edges of the glass, parallel to windscreen and rear window.
    ahead = lambda z: np.interp(z, [foot, crown], [front, roof_front]) - 0.12
    behind = lambda z: np.interp(z, [foot, crown - 0.02], [back, roof_back]) + 0.14
    pillars = [x_of(share) for share in shape.side_windows]
    starts = [ahead, *[lambda z, x=x: x - 0.04 for x in pillars]]
    ends = [*[lambda z, x=x: x + 0.04 for x in pillars], behind]
    for start, end in zip(starts, ends):
        corners = [(end(z_low), z_low), (end(z_high), z_high), (start(z_high), z_high), (start(z_low), z_low)]
        # Seen from the left the front is on the left: this order is counter-clockwise.
        parts.slab([(x, half_at(z), z) for x, z in corners], 0.01, Material.GLASS, both=True)
    for (x0, z0), (x1, z1), sign in (
        ((front, foot), (roof_front, crown), 1),
        ((back, foot), (roof_back, crown - 0.02), -1),
    ):
        at = lambda share, x0=x0, z0=z0, x1=x1, z1=z1: (x0 + share * (x1 - x0), z0 + share * (z1 - z0))
        (xa, za), (xb, zb) = at(0.1 if sign > 0 else 0.16), at(0.94)
        ya, yb = half_at(za) - 0.06, half_at(zb) - 0.06
        corners = [(xa, -ya, za), (xa, ya, za), (xb, yb, zb), (xb, -yb, zb)]
        parts.slab(corners if sign > 0 else corners[::-1], 0.012, Material.GLASS)


def _add_car_ends(parts: Assembly, shape: _CarShape, length: float, width: float) -> None:
    """Lights, grille, bumpers, plates and mirrors."""
    nose, tail = length / 2, -length / 2
    half = width / 2
    # Lamps on the flat end and around the rounded corner.
    low, high = shape.nose_m - 0.21, shape.nose_m - 0.11
    front = [(nose, 0.44 * half), *[(nose - share * length, wide * half) for share, wide in _NOSE_OUTLINE]]
    _add_lamp(parts, front, low, high, Material.HEADLIGHT)
    low, high = shape.tail_m - (0.55 if shape is _VAN else 0.31), shape.tail_m - 0.15
    back = [(tail, 0.5 * half), *[(tail + share * length, wide * half) for share, wide in _TAIL_OUTLINE]]
    _add_lamp(parts, back, low, high, Material.TAILLIGHT)
    parts.box((0.04, 0.7 * half, 0.12), (nose - 0.005, 0, shape.nose_m - 0.16), Material.DARK_PLASTIC)
    parts.box((0.05, 1.25 * half, 0.12), (nose - 0.005, 0, 0.42), Material.DARK_PLASTIC)
    parts.box((0.02, 0.5, 0.11), (nose + 0.02, 0, 0.45), Material.REFLECTIVE_WHITE)
    parts.box((0.05, 1.5 * half, 0.16), (tail + 0.01, 0, 0.44), Material.DARK_PLASTIC)
    parts.box((0.02, 0.5, 0.11), (tail - 0.01, 0, 0.62), Material.REFLECTIVE_WHITE)
    mirror_x = length * (0.5 - shape.cowl) - 0.3
    parts.box((0.1, 0.16, 0.12), (mirror_x, 0.95 * half + 0.035, shape.belt_m + 0.07), Material.CAR_PAINT, both=True)


def _add_lamp(
    parts: Assembly, outline_xy: list[tuple[float, float]], low_m: float, high_m: float, material: Material
) -> None:
    """Panes on the body along an outline seen from above, from the middle of the car to its left side; and mirrored."""
    for (x0, y0), (x1, y1) in pairwise(outline_xy):
        corners = [(x0, y0, low_m), (x1, y1, low_m), (x1, y1, high_m), (x0, y0, high_m)]
        parts.slab(corners if x0 > 0 else corners[::-1], 0.015, material, both=True)


def truck(rng: np.random.Generator) -> tuple[Mesh, Colours]:
    """A lorry of 7 to 9 m: a cab, and behind it a cargo box or a flat bed.

    Args:
        rng (np.random.Generator): Decides all that differs between two of them.

    Returns:
        tuple[Mesh, Colours]: Metres, x forward, standing on z = 0; RGB in 0..1 as a screen shows it.
    """
    parts = Assembly(SurfaceClass.TRUCK)
    length, width = rng.uniform(7.0, 9.0), rng.uniform(2.3, 2.4)
    cab = rng.uniform(1.8, 2.1)
    nose, tail = length / 2, -length / 2
    cab_back = nose - cab
    radius, cab_top = 0.48, rng.uniform(2.65, 2.85)
    _add_cab(parts, nose, cab, width, cab_top, radius)
    axles = [tail + 0.26 * length] if length < 8 else [tail + 0.34 * length, tail + 0.34 * length - 1.15]
    for x in axles:
        parts.wheels(radius, 0.46, [x], width / 2 - 0.25)
    parts.box(
        (length - cab * 0.6 - 0.2, 0.9, 0.26), (tail / 2 + (nose - cab * 0.6) / 2 + 0.1, 0, 0.83), Material.DARK_PLASTIC
    )
    parts.tube(
        (cab_back - 0.3, width / 2 - 0.35, 0.62),
        (cab_back - 1.2, width / 2 - 0.35, 0.62),
        0.27,
        Material.METAL,
        True,
        10,
    )
    bed_front, bed_z = cab_back - 0.12, 1.06
    middle, bed = (bed_front + tail) / 2, bed_front - tail
    if rng.random() < 0.65:
        top = rng.uniform(3.1, 3.35)
        parts.box((bed, width + 0.06, top - bed_z), (middle, 0, (top + bed_z) / 2), Material.CANVAS)
        for z in (bed_z + 0.06, top - 0.03):
            parts.box((bed + 0.02, width + 0.09, 0.1), (middle, 0, z), Material.METAL)
        for x in (bed_front - 0.03, tail + 0.03):
            parts.box((0.08, width + 0.1, top - bed_z), (x, 0, (top + bed_z) / 2), Material.METAL)
        parts.box((0.04, 0.04, top - bed_z - 0.2), (tail - 0.015, 0, (top + bed_z) / 2), Material.METAL)
    else:
        parts.box((bed, width, 0.14), (middle, 0, bed_z), Material.WOOD)
        parts.box((0.08, width, 1.1), (bed_front, 0, bed_z + 0.55), Material.METAL)
        parts.box((bed, 0.05, 0.42), (middle, width / 2, bed_z + 0.24), Material.CANVAS, both=True)
        parts.box((0.05, width, 0.42), (tail + 0.02, 0, bed_z + 0.24), Material.CANVAS)
        for share, high in ((0.2, 0.7), (0.45, 1.0), (0.75, 0.55)):  # crates
            size = (0.2 * bed, width * rng.uniform(0.6, 0.8), high)
            parts.box(size, (bed_front - share * bed, 0, bed_z + 0.07 + high / 2), Material.WOOD)
    _add_heavy_tail(parts, tail, width)
    colours = {
        Material.CAR_PAINT: _TRUCK_PAINTS[rng.integers(len(_TRUCK_PAINTS))],
        Material.CANVAS: _CANVASES[rng.integers(len(_CANVASES))],
    }
    return parts.mesh(), colours


def _add_cab(parts: Assembly, nose: float, cab: float, width: float, top: float, radius: float) -> None:
    """A cab over the engine, its front axle below the seats."""
    back, axle = nose - cab, nose - 0.72 * cab
    low = 1.02
    profile = [(nose, low), (nose - 0.02, 1.5), (nose - 0.22, top - 0.12), (nose - 0.4, top), (back, top), (back, low)]
    parts.extrude(profile, width, Material.CAR_PAINT, top_width_m=width * 0.93)
    # Below the doors, ahead of the wheel and behind it.
    parts.box(
        (nose - axle - radius - 0.08, width, 0.62), ((nose + axle + radius + 0.08) / 2, 0, 0.72), Material.CAR_PAINT
    )
    parts.box((cab, width - 0.9, 0.7), (nose - cab / 2 - 0.02, 0, 0.75), Material.DARK_PLASTIC)
    parts.wheels(radius, 0.3, [axle], width / 2 - 0.17)
    half_at = lambda z: width / 2 * (1 - 0.07 * (z - low) / (top - low))
    z0, z1 = 1.58, top - 0.24
    x_at = lambda z: nose - 0.02 - 0.2 * (z - 1.5) / (top - 1.62)
    y0, y1 = half_at(z0) - 0.1, half_at(z1) - 0.1
    parts.slab(
        [(x_at(z0), -y0, z0), (x_at(z0), y0, z0), (x_at(z1), y1, z1), (x_at(z1), -y1, z1)], 0.015, Material.GLASS
    )
    window = [(x_at(z0) - 0.12, z0), (x_at(z1) - 0.14, z1), (back + 0.75, z1), (back + 0.75, z0)]
    parts.slab([(x, half_at(z), z) for x, z in window[::-1]], 0.015, Material.GLASS, both=True)
    parts.box((0.05, width * 0.72, 0.4), (nose + 0.005, 0, 1.2), Material.DARK_PLASTIC)
    parts.box((0.08, width + 0.02, 0.28), (nose + 0.03, 0, 0.52), Material.DARK_PLASTIC)
    parts.box((0.06, 0.36, 0.18), (nose + 0.01, width / 2 - 0.24, 0.78), Material.HEADLIGHT, both=True)
    parts.box((0.02, 0.52, 0.11), (nose + 0.08, 0, 0.52), Material.REFLECTIVE_WHITE)
    parts.box((0.12, 0.1, 0.5), (nose - 0.1, width / 2 + 0.06, 2.0), Material.DARK_PLASTIC, both=True)


def _add_heavy_tail(parts: Assembly, tail: float, width: float) -> None:
    """Bumper bar, lights and plate of a truck or trailer."""
    parts.box((0.1, width - 0.1, 0.12), (tail + 0.1, 0, 0.6), Material.METAL)
    parts.box((0.1, 0.08, 0.4), (tail + 0.12, 0.5, 0.8), Material.METAL, both=True)
    parts.box((0.06, 0.42, 0.16), (tail + 0.03, width / 2 - 0.28, 0.86), Material.TAILLIGHT, both=True)
    parts.box((0.03, 0.5, 0.11), (tail + 0.04, 0, 0.75), Material.REFLECTIVE_WHITE)


def bus(rng: np.random.Generator) -> tuple[Mesh, Colours]:
    """A city bus of 10.5 to 12 m, its doors on the right.

    Args:
        rng (np.random.Generator): Decides all that differs between two of them.

    Returns:
        tuple[Mesh, Colours]: Metres, x forward, standing on z = 0; RGB in 0..1 as a screen shows it.
    """
    parts = Assembly(SurfaceClass.BUS)
    length, width, height = rng.uniform(10.5, 12.0), 2.55, rng.uniform(3.0, 3.15)
    nose, tail = length / 2, -length / 2
    radius, skirt = 0.48, 1.08
    axles = (nose - 2.6, tail + 3.2)
    body = [(nose, skirt - 0.02), (nose - 0.03, 1.5), (nose - 0.16, height - 0.2), (nose - 0.4, height)]
    body += [(tail + 0.2, height), (tail, height - 0.2), (tail, skirt - 0.02)]
    parts.extrude(body, width, Material.CAR_PAINT, top_width_m=width * 0.95)
    edges = [nose, axles[0] + 0.58, axles[0] - 0.58, axles[1] + 0.58, axles[1] - 0.58, tail]
    for front, back in zip(edges[::2], edges[1::2]):
        parts.box((front - back, width, skirt - 0.3), ((front + back) / 2, 0, (skirt + 0.3) / 2), Material.CAR_PAINT)
    parts.box((length - 0.2, width - 0.9, skirt - 0.35), (0, 0, (skirt + 0.35) / 2), Material.DARK_PLASTIC)
    parts.wheels(radius, 0.3, axles, width / 2 - 0.17)
    half_at = lambda z: width / 2 * (1 - 0.05 * (z - skirt) / (height - skirt))

    def side_panel(front: float, back: float, z0: float, z1: float, side: int, material: Material) -> None:
        corners = [(front, half_at(z0), z0), (back, half_at(z0), z0), (back, half_at(z1), z1), (front, half_at(z1), z1)]
        corners = [(x, side * y, z) for x, y, z in corners]
        parts.slab(corners[::side][::-1], 0.015, material)

    doors = [nose - 1.0, (axles[0] + axles[1]) / 2 - 0.2, axles[1] - 1.55]
    ends = [nose - 0.35, *[x + side * 0.72 for x in doors for side in (1, -1)], tail + 0.35]
    for side, edges in ((1, [ends[0], ends[-1]]), (-1, ends)):
        for front, back in zip(edges[::2], edges[1::2]):
            panes = round((front - back) / 1.4)
            for i in range(panes):
                pitch = (front - back) / panes
                start = front - i * pitch
                side_panel(start - 0.04, start - pitch + 0.04, 1.45, height - 0.5, side, Material.GLASS)
    for x in doors:
        for leaf in (0.05, -0.62):
            parts.box(
                (0.57, 0.06, height - 0.95),
                (x + leaf + 0.285, -width / 2 + 0.012, 0.42 + (height - 0.95) / 2),
                Material.GLASS,
            )
        parts.box(
            (1.32, 0.05, height - 0.85), (x, -width / 2 + 0.012, 0.38 + (height - 0.85) / 2), Material.DARK_PLASTIC
        )
    x_at = lambda z: nose - 0.03 - 0.13 * (z - 1.5) / (height - 1.7)
    y = width / 2 - 0.16
    for z0, z1, material in (
        (1.15, height - 0.62, Material.GLASS),
        (height - 0.58, height - 0.26, Material.DARK_PLASTIC),
    ):
        x0 = nose + 0.001 if z0 < 1.5 else x_at(z0)
        parts.slab([(x0, -y, z0), (x0, y, z0), (x_at(z1), y - 0.04, z1), (x_at(z1), 0.04 - y, z1)], 0.02, material)
    parts.box((0.03, width - 0.7, 0.85), (tail - 0.005, 0, 2.1), Material.GLASS)
    parts.box((2.4, 1.7, 0.26), (nose - 0.3 * length, 0, height + 0.12), Material.METAL)  # air conditioning
    parts.box((1.6, 1.5, 0.22), (tail + 1.4, 0, height + 0.1), Material.METAL)
    parts.box((0.08, 0.42, 0.2), (nose - 0.01, width / 2 - 0.3, 0.78), Material.HEADLIGHT, both=True)
    parts.box((0.1, width - 0.1, 0.24), (nose, 0, 0.45), Material.DARK_PLASTIC)
    parts.box((0.04, 0.52, 0.12), (nose + 0.04, 0, 0.47), Material.REFLECTIVE_WHITE)
    parts.box((0.06, 0.16, 0.55), (tail - 0.01, width / 2 - 0.16, 1.15), Material.TAILLIGHT, both=True)
    parts.box((0.04, 0.52, 0.12), (tail - 0.02, 0, 0.7), Material.REFLECTIVE_WHITE)
    parts.box((0.1, width - 0.1, 0.22), (tail - 0.01, 0, 0.42), Material.DARK_PLASTIC)
    parts.tube(
        (nose - 0.1, width / 2 - 0.1, height - 0.3),
        (nose + 0.12, width / 2 + 0.08, 2.3),
        0.025,
        Material.DARK_PLASTIC,
        True,
    )
    parts.box((0.12, 0.18, 0.42), (nose + 0.12, width / 2 + 0.08, 2.1), Material.DARK_PLASTIC, both=True)
    return parts.mesh(), {Material.CAR_PAINT: _BUS_PAINTS[rng.integers(len(_BUS_PAINTS))]}


def trailer(rng: np.random.Generator) -> tuple[Mesh, Colours]:
    """A cargo box of 9 to 11 m on wheels, with a drawbar ahead and no cab.

    Args:
        rng (np.random.Generator): Decides all that differs between two of them.

    Returns:
        tuple[Mesh, Colours]: Metres, x forward, standing on z = 0; RGB in 0..1 as a screen shows it.
    """
    parts = Assembly(SurfaceClass.TRAILER)
    length, width, top = rng.uniform(9.0, 11.0), rng.uniform(2.45, 2.55), rng.uniform(3.5, 3.8)
    drawbar = 1.5
    front, tail = length / 2 - drawbar, -length / 2
    middle, bed, floor = (front + tail) / 2, front - tail, 1.15
    parts.box((bed - 0.03, width, top - floor), (middle, 0, (top + floor) / 2), Material.CANVAS)
    for x in np.linspace(front - 0.05, tail + 0.05, 5):  # posts
        parts.box((0.1, width + 0.03, top - floor), (x, 0, (top + floor) / 2), Material.METAL)
    for z in (floor + 0.07, top - 0.05):
        parts.box((bed + 0.02, width + 0.05, 0.14), (middle, 0, z), Material.METAL)
    parts.box(
        (0.05, 0.06, top - floor - 0.2), (tail - 0.015, 0, (top + floor) / 2), Material.METAL
    )  # between the doors
    parts.box((bed * 0.9, 0.02, 0.06), (middle, width / 2 + 0.02, floor + 0.07), Material.REFLECTIVE_WHITE, both=True)
    parts.box((bed - 0.3, 0.9, 0.25), (middle, 0, floor - 0.15), Material.DARK_PLASTIC)
    parts.wheels(0.5, 0.46, [tail + 1.6, tail + 2.85, front - 1.1], width / 2 - 0.25)
    for x in (tail + 1.6, tail + 2.85, front - 1.1):
        parts.box((0.16, width - 0.5, 0.16), (x, 0, 0.5), Material.METAL)
    parts.box((0.2, 0.6, 0.5), (front - 1.1, 0, 0.8), Material.METAL)
    hitch = (length / 2, 0, 0.62)
    parts.tube((front - 0.9, 0.45, 0.7), hitch, 0.06, Material.METAL, both=True)
    parts.box((3.2, 0.04, 0.5), (middle, width / 2 - 0.1, 0.78), Material.METAL, both=True)  # guard between the axles
    _add_heavy_tail(parts, tail, width)
    return parts.mesh(), {Material.CANVAS: _CANVASES[rng.integers(len(_CANVASES))]}


def construction_vehicle(rng: np.random.Generator) -> tuple[Mesh, Colours]:
    """An excavator on tracks or a wheel loader.

    Args:
        rng (np.random.Generator): Decides all that differs between two of them.

    Returns:
        tuple[Mesh, Colours]: Metres, x forward, standing on z = 0; RGB in 0..1 as a screen shows it.
    """
    parts = Assembly(SurfaceClass.CONSTRUCTION_VEHICLE)
    (_add_excavator if rng.random() < 0.55 else _add_wheel_loader)(parts, rng)
    scale = rng.uniform(0.93, 1.05)
    return parts.mesh().moved(scale=(scale,) * 3), {}


def _add_excavator(parts: Assembly, rng: np.random.Generator) -> None:
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    # A track: two half circles 2.4 m apart.
    track = np.stack([np.cos(angle) * 0.42 + np.sign(np.cos(angle)) * 1.2, 0.42 + np.sin(angle) * 0.42], 1)
    parts.extrude(track, 0.55, Material.RUBBER, y_m=1.05, both=True)
    for x in np.linspace(-1.2, 1.2, 5):
        parts.tube((x, 1.3, 0.42), (x, 1.35, 0.42), 0.26, Material.METAL, both=True, sides=10)
    parts.box((1.9, 1.6, 0.35), (0, 0, 0.62), Material.DARK_PLASTIC)
    parts.cylinder(0.65, 0.25, (0, 0, 0.78), Material.DARK_PLASTIC, sides=14)
    # The house: deck, rounded counterweight, engine cover, cab on the left.
    back = [(-1.9, 1.1), (-2.05, 1.35), (-2.0, 1.9), (-1.8, 2.1), (-0.2, 2.1), (-0.2, 1.1)]
    parts.extrude(back, 2.5, Material.YELLOW_PAINT, top_width_m=2.4)
    parts.box((0.08, 1.8, 0.35), (-2.02, 0, 1.55), Material.DARK_PLASTIC)
    parts.box((1.7, 2.5, 0.22), (0.6, 0, 1.12), Material.YELLOW_PAINT)
    parts.box((1.5, 0.7, 0.7), (0.5, -0.85, 1.5), Material.YELLOW_PAINT)
    parts.tube((-1.2, -0.7, 2.1), (-1.2, -0.7, 2.5), 0.06, Material.METAL)
    cab = [(1.45, 1.2), (1.45, 1.7), (1.15, 2.8), (-0.1, 2.8), (-0.1, 1.2)]
    parts.extrude(cab, 0.95, Material.YELLOW_PAINT, y_m=0.75)
    parts.box((1.4, 1.0, 0.08), (0.5, 0.75, 2.84), Material.DARK_PLASTIC)
    for y in (0.75 + 0.475, 0.75 - 0.475):  # side panes
        pane = [(1.3, 1.75), (1.06, 2.7), (0.02, 2.7), (0.02, 1.55), (1.3, 1.55)]
        pane = [(x, y, z) for x, z in pane]
        parts.slab(pane if y < 0.75 else pane[::-1], 0.012, Material.GLASS)
    parts.slab([(1.44, 0.36, 1.75), (1.44, 1.14, 1.75), (1.18, 1.14, 2.7), (1.18, 0.36, 2.7)], 0.015, Material.GLASS)
    parts.box((0.02, 0.78, 0.35), (1.455, 0.75, 1.5), Material.GLASS)
    # Boom up, stick down, bucket near the ground; how far differs.
    reach = rng.uniform(-0.25, 0.15)
    foot, knee, elbow = (0.7, 1.35), (1.9, 3.05), (3.4 + reach, 2.95)
    wrist = (3.75 + reach, 1.25)
    parts.beam(foot, knee, (0.4, 0.55), 0.36, Material.YELLOW_PAINT)
    parts.beam(knee, elbow, (0.55, 0.32), 0.36, Material.YELLOW_PAINT)
    parts.beam((elbow[0] - 0.3, elbow[1] + 0.28), wrist, (0.5, 0.26), 0.28, Material.YELLOW_PAINT)
    parts.tube((1.25, 0.1, 1.3), (2.15, 0.1, 2.75), 0.07, Material.METAL, both=True)
    parts.tube((2.0, 0, 3.35), (elbow[0] - 0.2, 0, elbow[1] + 0.42), 0.07, Material.METAL)
    parts.tube((elbow[0] + 0.1, 0, elbow[1] - 0.1), (wrist[0] + 0.25, 0, wrist[1] + 0.3), 0.06, Material.METAL)
    x, z = wrist
    bucket = [(x + 0.16, z + 0.14), (x + 0.3, z - 0.4), (x + 0.05, z - 0.85), (x - 0.45, z - 0.95)]
    _add_bucket(parts, bucket, (x - 0.4, z - 0.2), 1.0)
    parts.box((0.05, 0.2, 0.14), (1.46, -0.9, 1.75), Material.HEADLIGHT)
    parts.box((0.05, 0.14, 0.14), (-2.06, 1.0, 1.45), Material.TAILLIGHT, both=True)


def _add_bucket(parts: Assembly, back_xz: list, lip_xz: tuple[float, float], width_m: float) -> None:
    """A shell along ``back_xz`` and two cheeks that close it towards ``lip_xz``; open in front."""
    for start, end in pairwise(back_xz):
        parts.beam(start, end, (0.06, 0.06), width_m, Material.METAL)
    parts.extrude([*back_xz, lip_xz], 0.05, Material.YELLOW_PAINT, y_m=width_m / 2, both=True)
    parts.beam(back_xz[-1], lip_xz, (0.05, 0.05), 0.05, Material.METAL, y_m=width_m / 4, both=True)


def _add_wheel_loader(parts: Assembly, rng: np.random.Generator) -> None:
    parts.wheels(0.75, 0.55, [1.15, -1.75], 0.98)
    parts.box((3.4, 1.0, 0.4), (-0.4, 0, 0.85), Material.DARK_PLASTIC)
    for x in (1.15, -1.75):
        parts.box((0.3, 1.6, 0.3), (x, 0, 0.75), Material.DARK_PLASTIC)
        parts.box((1.3, 0.6, 0.08), (x, 0.98, 1.6), Material.YELLOW_PAINT, both=True)  # mudguards
    engine = [(-0.75, 1.0), (-0.75, 2.05), (-1.9, 1.95), (-2.75, 1.75), (-2.9, 1.5), (-2.9, 0.8), (-2.6, 0.65)]
    parts.extrude(engine, 1.35, Material.YELLOW_PAINT)
    parts.box((0.06, 1.1, 0.7), (-2.9, 0, 1.2), Material.DARK_PLASTIC)
    parts.tube((-1.6, 0.4, 1.95), (-1.6, 0.4, 2.6), 0.06, Material.METAL)
    cab = [(0.55, 1.0), (0.6, 1.8), (0.35, 3.1), (-0.75, 3.1), (-0.85, 1.0)]
    parts.extrude(cab, 1.45, Material.YELLOW_PAINT, top_width_m=1.3)
    half_at = lambda z: 0.725 - 0.075 * (z - 1.0) / 2.1
    pane = [(0.42, 1.75), (0.24, 2.95), (-0.62, 2.95), (-0.68, 1.75)]
    parts.slab([(x, half_at(z), z) for x, z in pane[::-1]], 0.012, Material.GLASS, both=True)
    front = [(0.6, 1.82), (0.375, 2.98)]
    corners = [(x, side * (half_at(z) - 0.08), z) for (x, z), sides in zip(front, ((-1, 1), (1, -1))) for side in sides]
    parts.slab(corners, 0.015, Material.GLASS)
    parts.box((0.03, 1.1, 0.8), (-0.8, 0, 2.5), Material.GLASS)
    parts.box((1.35, 1.5, 0.08), (-0.2, 0, 3.13), Material.DARK_PLASTIC)
    parts.cylinder(0.08, 0.14, (-0.4, 0.4, 3.16), Material.ORANGE_PLASTIC)
    parts.box((0.9, 0.9, 0.9), (1.0, 0, 1.15), Material.YELLOW_PAINT)
    lift = rng.uniform(0.0, 0.5)
    parts.beam((0.75, 1.75), (2.0, 1.25 + lift), (0.3, 0.3), 0.16, Material.YELLOW_PAINT, y_m=0.45, both=True)
    parts.beam((2.0, 1.25 + lift), (2.75, 0.55 + lift), (0.3, 0.24), 0.16, Material.YELLOW_PAINT, y_m=0.45, both=True)
    parts.tube((0.9, 0.45, 1.0), (2.0, 0.45, 1.15 + lift), 0.06, Material.METAL, both=True)
    parts.tube((1.1, 0, 1.7), (2.6, 0, 1.2 + lift), 0.07, Material.METAL)
    z = 0.1 + lift
    bucket = [(2.85, z + 1.15), (2.65, z + 0.7), (2.75, z + 0.2), (3.05, z), (3.75, z)]
    _add_bucket(parts, bucket, (3.2, z + 1.1), 2.55)
    parts.box((0.06, 0.24, 0.16), (1.48, 0.5, 1.75), Material.HEADLIGHT, both=True)
    parts.box((0.06, 0.16, 0.16), (-2.9, 0.55, 1.6), Material.TAILLIGHT, both=True)
