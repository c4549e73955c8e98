"""Things that never move: trees, hedges, buildings, walls, fences, poles, lights, signs and street furniture.

Each function returns a :class:`Mesh` that stands on z = 0 around the origin; what has a front looks along x unless
told otherwise. Lengths are metres; the same state of ``rng`` gives the same mesh.
"""

from __future__ import annotations

import numpy as np

from cleverdistiller.errors import InputError
from cleverdistiller.simulation.surfaces import Material, SurfaceClass
from cleverdistiller.simulation.things.assembly import Assembly
from cleverdistiller.simulation.things.mesh import Mesh, ellipsoid, from_faces

_FLOOR_M = 3.1


def tree(rng: np.random.Generator) -> Mesh:
    """A broad-leaved tree or a conifer, 4 to 12 m high, with a ragged crown.

    Args:
        rng (np.random.Generator): Decides kind, height and shape.

    Returns:
        Mesh: TRUNK of BARK, VEGETATION of FOLIAGE.
    """
    return _conifer(rng) if rng.random() < 0.25 else _broad_leaved(rng)


def _broad_leaved(rng: np.random.Generator) -> Mesh:
    height = rng.uniform(4.5, 11.5)
    spread = height * rng.uniform(0.2, 0.27)  # radius of the crown
    fork = height * rng.uniform(0.28, 0.36)  # where branches begin
    wood, leaves = Assembly(SurfaceClass.TRUNK), Assembly(SurfaceClass.VEGETATION)
    girth = 0.016 * height + 0.04
    bend = np.array([*rng.normal(0, 0.03 * height, 2), fork])
    wood.tube((0, 0, 0), bend * (0.4, 0.4, 0.5), girth * 1.25, Material.BARK, sides=8, end_radius_m=girth)
    wood.tube(bend * (0.4, 0.4, 0.5), bend, girth, Material.BARK, sides=8, end_radius_m=girth * 0.85)
    blobs = rng.integers(5, 8)
    crown = fork + 0.52 * (height - fork)
    turn = rng.uniform(0, 2 * np.pi)
    for i in range(blobs):
        if i == 0:
            centre, radius = np.array([bend[0], bend[1], height - 0.5 * spread]), 0.55 * spread
        else:
            angle = turn + 2 * np.pi * i / (blobs - 1) + rng.normal(0, 0.3)
            out = spread * rng.uniform(0.4, 0.62)
            low = rng.uniform(-0.24, 0.2) * (height - fork)
            centre = np.array([bend[0] + out * np.cos(angle), bend[1] + out * np.sin(angle), crown + low])
            radius = spread * rng.uniform(0.58, 0.74)
        wood.tube(bend, centre, girth * 0.55, Material.BARK, sides=5, end_radius_m=girth * 0.2)
        _add_foliage(leaves, rng, centre, radius * np.array([1, 1, rng.uniform(0.8, 1.05)]), tufts=60)
    return Mesh.join([wood.mesh(), leaves.mesh()])


def _conifer(rng: np.random.Generator) -> Mesh:
    height = rng.uniform(5.0, 12.0)
    spread = height * rng.uniform(0.17, 0.23)
    wood, leaves = Assembly(SurfaceClass.TRUNK), Assembly(SurfaceClass.VEGETATION)
    wood.tube((0, 0, 0), (0, 0, 0.9 * height), 0.012 * height + 0.05, Material.BARK, sides=8, end_radius_m=0.03)
    tiers = rng.integers(6, 9)
    start = 0.1 * height
    for i in range(tiers):
        share = i / tiers
        low, tall = start + share * (height - start), (height - start) / tiers * 1.9
        _add_skirt(leaves, rng, low, min(tall, height - low), spread * (1 - share) ** 0.85)
    return Mesh.join([wood.mesh(), leaves.mesh()])


def _add_skirt(parts: Assembly, rng: np.random.Generator, low_m: float, tall_m: float, radius_m: float) -> None:
    """A tier of a conifer: a cone with a jagged rim, every other twig longer and hanging lower."""
    sides = 18
    angle = np.arange(sides) * 2 * np.pi / sides + rng.normal(0, 0.06, sides)
    reach = radius_m * np.where(np.arange(sides) % 2, 0.62, 1.0) * rng.uniform(0.82, 1.12, sides)
    droop = low_m - 0.12 * reach * rng.uniform(0.3, 1.5, sides)
    rim = np.stack([reach * np.cos(angle), reach * np.sin(angle), droop + 0.0], 1)
    vertices = np.concatenate([rim, [[0, 0, low_m + tall_m], [0, 0, low_m + 0.3 * tall_m]]])
    following = (np.arange(sides) + 1) % sides
    above = np.stack([np.arange(sides), following, np.full(sides, sides)], 1)
    below = np.stack([following, np.arange(sides), np.full(sides, sides + 1)], 1)
    parts.add(from_faces(vertices, np.concatenate([above, below]), parts.surface, Material.FOLIAGE))


def _add_foliage(
    parts: Assembly, rng: np.random.Generator, centre_m: np.ndarray, radii_m: np.ndarray, tufts: int
) -> None:
    """A bumpy blob, a little inside ``radii_m``, and tufts of leaves that stick out of it at random."""
    rings, sides = 7, 11
    bumps = rng.uniform(0.72, 1.05, (rings - 1, sides))
    parts.add(ellipsoid(radii_m * 0.9, centre_m, parts.surface, Material.FOLIAGE, rings, sides, bumps))
    way = rng.normal(size=(tufts, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    middles = centre_m + way * radii_m * rng.uniform(0.78, 1.05, (tufts, 1))
    size = np.cbrt(radii_m.prod()) * rng.uniform(0.1, 0.22, (tufts, 1, 1))
    # A tuft is a flat, skewed tetrahedron.
    corners = np.array([[1, 0, -0.3], [-0.5, 0.87, -0.3], [-0.5, -0.87, -0.3], [0, 0, 0.6]])
    turns = np.linalg.qr(rng.normal(size=(tufts, 3, 3)))[0]
    turns *= np.sign(np.linalg.det(turns))[:, None, None]  # no mirror images: they would be inside out
    skew = corners * (1 + 0.5 * rng.uniform(-1, 1, (tufts, 4, 1)))
    vertices = middles[:, None] + size * skew @ turns.transpose(0, 2, 1)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    triangles = (faces + 4 * np.arange(tufts)[:, None, None]).reshape(-1, 3)
    parts.add(from_faces(vertices.reshape(-1, 3), triangles, parts.surface, Material.FOLIAGE))


def bush(rng: np.random.Generator) -> Mesh:
    """A shrub, 0.6 to 1.8 m high.

    Args:
        rng (np.random.Generator): Decides size and shape.

    Returns:
        Mesh: VEGETATION of FOLIAGE.
    """
    parts = Assembly(SurfaceClass.VEGETATION)
    height = rng.uniform(0.6, 1.8)
    for _ in range(rng.integers(2, 5)):
        radii = height * np.array([rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.52)])
        centre = np.array([*rng.normal(0, 0.28 * height, 2), radii[2] * 0.85])
        _add_foliage(parts, rng, centre, radii, tufts=30)
    return _on_the_ground(parts.mesh())


def hedge(rng: np.random.Generator, length_m: float) -> Mesh:
    """A trimmed hedge along x, 0.9 to 1.7 m high, rough to the touch.

    Args:
        rng (np.random.Generator): Decides height, depth and roughness.
        length_m (float): Along x.

    Returns:
        Mesh: VEGETATION of FOLIAGE.
    """
    _check_positive('hedge', length_m=length_m)
    height, depth = rng.uniform(0.9, 1.7), rng.uniform(0.6, 0.9)
    steps = max(3, round(length_m / 0.35) + 1)
    outline = np.array([(0.42, 0), (0.5, 0.35), (0.48, 0.75), (0.36, 1), (0, 1.03)])
    outline = np.concatenate([outline, outline[-2::-1] * (-1, 1)]) * (depth, height)
    sections = np.empty((steps, len(outline), 3))
    sections[..., 0] = np.linspace(-length_m / 2, length_m / 2, steps)[:, None]
    sections[..., 1:] = outline
    rough = rng.normal(0, 0.05, (*sections.shape[:2], 3))
    rough[[0, -1], :, 0] = 0  # flat ends; the length is kept
    rough[1:-1, :, 0] = np.clip(rough[1:-1, :, 0], -0.1, 0.1)
    rough[..., 2] *= outline[:, 1] > 0
    parts = Assembly(SurfaceClass.VEGETATION)
    parts.loft(sections + rough, Material.FOLIAGE)
    return parts.mesh()


def building(rng: np.random.Generator, length_m: float, depth_m: float, height_m: float) -> Mesh:
    """A house. Windows are not part of the mesh: the renderer paints them on FACADE.

    Args:
        rng (np.random.Generator): Decides the roof, ledges, balconies and where the door is.
        length_m (float): Along x.
        depth_m (float): Along y; the door and the balconies look to -y.
        height_m (float): Up to the eaves; a pitched roof and chimneys come on top.

    Returns:
        Mesh: BUILDING; only the plinth, ledges, balconies and eaves reach beyond length and depth (by 1.3 m at most).

    Raises:
        InputError: For a size that is not positive.
    """
    _check_positive('building', length_m=length_m, depth_m=depth_m, height_m=height_m)
    parts = Assembly(SurfaceClass.BUILDING)
    parts.box((length_m, depth_m, height_m), (0, 0, height_m / 2), Material.FACADE)
    parts.box((length_m + 0.1, depth_m + 0.1, 0.6), (0, 0, 0.3), Material.CONCRETE)
    front = -depth_m / 2
    door_x = rng.uniform(-0.3, 0.3) * length_m
    parts.box((1.9, 0.18, 2.7), (door_x, front - 0.05, 1.35), Material.CONCRETE)  # frame
    parts.box((1.3, 0.1, 2.35), (door_x, front - 0.12, 1.2), Material.WOOD)
    parts.box((2.2, 1.0, 0.12), (door_x, front - 0.5, 2.8), Material.CONCRETE)  # canopy
    parts.box((2.0, 0.9, 0.16), (door_x, front - 0.45, 0.08), Material.CONCRETE)  # step
    floors = max(1, round(height_m / _FLOOR_M))
    floor = height_m / floors
    if rng.random() < 0.6:  # ledges between the floors
        for level in range(1, floors):
            parts.box((length_m + 0.16, depth_m + 0.16, 0.14), (0, 0, level * floor), Material.PLASTER)
    if rng.random() < 0.5:
        for level in range(1, floors):
            for x in rng.choice([-0.32, 0.0, 0.32], 2, replace=False) * length_m:
                _add_balcony(parts, x, front, level * floor, min(3.0, 0.25 * length_m))
    if height_m < 11 and rng.random() < 0.75:
        _add_pitched_roof(parts, rng, length_m, depth_m, height_m)
    else:
        _add_flat_roof(parts, rng, length_m, depth_m, height_m)
    return parts.mesh()


def _add_balcony(parts: Assembly, x_m: float, front_y_m: float, z_m: float, width_m: float) -> None:
    deep = 1.2
    parts.box((width_m, deep, 0.16), (x_m, front_y_m - deep / 2, z_m), Material.CONCRETE)
    parts.box((width_m, 0.05, 0.85), (x_m, front_y_m - deep + 0.03, z_m + 0.55), Material.METAL)
    for side in (-1, 1):
        parts.box(
            (0.05, deep, 0.85), (x_m + side * (width_m / 2 - 0.03), front_y_m - deep / 2, z_m + 0.55), Material.METAL
        )


def _add_pitched_roof(
    parts: Assembly, rng: np.random.Generator, length_m: float, depth_m: float, height_m: float
) -> None:
    """A ridge along x, its gables plastered, the eaves reaching out by 0.4 m."""
    rise, eaves = depth_m / 2 * rng.uniform(0.55, 0.9), 0.4
    slope = rise / (depth_m / 2)
    half = depth_m / 2
    gable = np.array([(-half, height_m), (half, height_m), (0, height_m + rise)])
    parts.loft(np.stack([np.insert(gable, 0, x, axis=1) for x in (-length_m / 2, length_m / 2)]), Material.PLASTER)
    x = length_m / 2 + eaves
    low = height_m - eaves * slope + 0.02
    for side in (1, -1):
        y, top = side * (half + eaves), height_m + rise + 0.02
        corners = [(-x, y, low), (x, y, low), (x, 0, top), (-x, 0, top)]
        parts.slab(corners[::-1] if side > 0 else corners, 0.18, Material.ROOF)
    chimney = rng.uniform(-0.35, 0.35) * length_m
    parts.box((0.7, 0.7, 1.6), (chimney, 0.2 * depth_m, height_m + 0.6 * rise + 0.8), Material.BRICK)


def _add_flat_roof(parts: Assembly, rng: np.random.Generator, length_m: float, depth_m: float, height_m: float) -> None:
    """A parapet all around, a stair head and machines."""
    rim, wide = 0.7, 0.3
    parts.box((length_m - 0.1, depth_m - 0.1, 0.06), (0, 0, height_m + 0.03), Material.ROOF)
    for side in (-1, 1):
        parts.box((length_m + 0.2, wide, rim), (0, side * (depth_m / 2 - 0.05), height_m + rim / 2), Material.CONCRETE)
        parts.box((wide, depth_m - 0.4, rim), (side * (length_m / 2 - 0.05), 0, height_m + rim / 2), Material.CONCRETE)
    share = rng.uniform(-0.25, 0.25, (3, 2)) * (length_m, depth_m)
    if length_m > 12:
        parts.box((3.0, 2.6, 2.4), (*share[0], height_m + 1.2), Material.PLASTER)
    for x, y in share[1:]:
        parts.box((1.6, 1.1, 1.0), (x, y, height_m + 0.5), Material.METAL)


def wall(length_m: float, height_m: float, material: Material = Material.BRICK) -> Mesh:
    """A free-standing wall along x with a coping.

    Args:
        length_m (float): Along x.
        height_m (float): With its coping.
        material (Material): BRICK or CONCRETE, for instance.

    Returns:
        Mesh: WALL, 0.24 m thick; the coping is 0.34 m deep.

    Raises:
        InputError: For a size that is not positive.
    """
    _check_positive('wall', length_m=length_m, height_m=height_m)
    parts = Assembly(SurfaceClass.WALL)
    coping = min(0.1, height_m / 4)
    parts.box((length_m, 0.24, height_m - coping), (0, 0, (height_m - coping) / 2), material)
    parts.box((length_m, 0.34, coping), (0, 0, height_m - coping / 2), Material.CONCRETE)
    return parts.mesh()


def fence(length_m: float, height_m: float = 1.2, material: Material = Material.WOOD) -> Mesh:
    """A fence along x: posts, two rails, and pickets with daylight between them.

    Args:
        length_m (float): Along x.
        height_m (float): Of its posts.
        material (Material): WOOD for broad pickets, METAL for thin bars.

    Returns:
        Mesh: FENCE.

    Raises:
        InputError: For a size that is not positive.
    """
    _check_positive('fence', length_m=length_m, height_m=height_m)
    parts = Assembly(SurfaceClass.FENCE)
    wooden = material == Material.WOOD
    thick, picket, pitch = (0.1, 0.09, 0.17) if wooden else (0.06, 0.025, 0.13)
    for x in np.linspace(-1, 1, max(2, round(length_m / 2.2) + 1)) * (length_m - thick) / 2:
        parts.box((thick, thick, height_m), (x, 0, height_m / 2), material)
    for share in (0.25, 0.8):
        parts.box((length_m, 0.04, 0.07 if wooden else 0.04), (0, 0, share * height_m), material)
    count = max(1, round(length_m / pitch) - 1)
    for x in (np.arange(count) - (count - 1) / 2) * pitch:
        parts.box((picket, 0.02, 0.88 * height_m), (x, 0.03, 0.52 * height_m), material)
    return parts.mesh()


def pole(rng: np.random.Generator) -> Mesh:
    """A street lamp, 6 to 9 m high; its arm reaches along x.

    Args:
        rng (np.random.Generator): Decides height and arm.

    Returns:
        Mesh: POLE of METAL, the lamp of HEADLIGHT.
    """
    parts = Assembly(SurfaceClass.POLE)
    height, arm = rng.uniform(6.0, 9.0), rng.uniform(1.2, 2.4)
    parts.cylinder(0.14, 0.9, (0, 0, 0), Material.METAL, sides=8)
    parts.cylinder(0.09, height - 0.9, (0, 0, 0.9), Material.METAL, sides=8, top_radius_m=0.055)
    parts.polyline(
        [(0, 0, height - 0.05), (0.35 * arm, 0, height + 0.22), (arm, 0, height + 0.3)], 0.045, Material.METAL
    )
    parts.box((0.75, 0.28, 0.12), (arm + 0.25, 0, height + 0.31), Material.METAL)
    parts.box((0.55, 0.2, 0.03), (arm + 0.28, 0, height + 0.24), Material.HEADLIGHT)
    return parts.mesh()


def traffic_light(rng: np.random.Generator) -> Mesh:
    """A traffic light that looks along x: one head on the pole, on some a second one on an arm.

    The arm reaches towards -y: over the lane of those who drive towards it and keep to the right.

    Args:
        rng (np.random.Generator): Decides the arm and which lamp is lit.

    Returns:
        Mesh: POLE and TRAFFIC_LIGHT; a lit lamp is of TAILLIGHT (red) or ORANGE_PLASTIC (amber), others of GLASS.
    """
    mast, head = Assembly(SurfaceClass.POLE), Assembly(SurfaceClass.TRAFFIC_LIGHT)
    lit = rng.integers(2)
    mast.cylinder(0.12, 0.4, (0, 0, 0), Material.METAL, sides=8)
    if rng.random() < 0.4:
        arm = rng.uniform(2.5, 4.5)
        mast.cylinder(0.09, 5.9, (0, 0, 0), Material.METAL, sides=8)
        mast.tube((0, 0, 5.7), (0, -arm, 5.85), 0.06, Material.METAL)
        _add_lamps(head, 0, 0.2 - arm, 5.45, lit)
    else:
        mast.cylinder(0.06, 3.5, (0, 0, 0), Material.METAL, sides=8)
    _add_lamps(head, 0.1, 0, 2.9, lit)
    return Mesh.join([mast.mesh(), head.mesh()])


def _add_lamps(parts: Assembly, x_m: float, y_m: float, z_m: float, lit: int) -> None:
    """Three lamps one above the other, the middle one at ``z_m``, before a dark board."""
    parts.box((0.02, 0.52, 1.15), (x_m + 0.02, y_m, z_m), Material.DARK_PLASTIC)
    parts.box((0.2, 0.32, 0.95), (x_m + 0.1, y_m, z_m), Material.DARK_PLASTIC)
    for i, lamp in enumerate((Material.TAILLIGHT, Material.ORANGE_PLASTIC, Material.GLASS)):
        at = (x_m + 0.2, y_m, z_m + 0.3 * (1 - i))
        parts.tube(at, (at[0] + 0.02, *at[1:]), 0.11, lamp if i == lit else Material.GLASS, sides=12)
        parts.box((0.16, 0.26, 0.02), (at[0] + 0.08, y_m, at[2] + 0.13), Material.DARK_PLASTIC)  # visor


def sign(rng: np.random.Generator) -> Mesh:
    """A traffic sign that looks along x: round, a triangle or a rectangle on a thin pole.

    Args:
        rng (np.random.Generator): Decides shape and height.

    Returns:
        Mesh: POLE of METAL, SIGN of SIGN_FACE with a METAL back.
    """
    mast, plate = Assembly(SurfaceClass.POLE), Assembly(SurfaceClass.SIGN)
    height = rng.uniform(2.1, 2.6)
    kind = rng.choice(['round', 'triangle', 'rectangle'])
    if kind == 'rectangle':
        half_w, half_h = rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.45)
        outline = np.array([(-half_w, -half_h), (half_w, -half_h), (half_w, half_h), (-half_w, half_h)])
    else:
        corners, radius = (16, 0.35) if kind == 'round' else (3, 0.5)
        angle = np.pi / 2 + np.arange(corners) * 2 * np.pi / corners
        outline = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    # Seen from ahead y runs to the right.
    face = np.insert(outline + np.array([0, height]), 0, 0.05, axis=1)
    mast.cylinder(0.035, height + np.ptp(outline[:, 1]) / 2, (0, 0, 0), Material.METAL, sides=8)
    plate.slab(face, 0.012, Material.METAL)
    plate.slab(face + np.array([0.012, 0, 0]), 0.006, Material.SIGN_FACE)
    return Mesh.join([mast.mesh(), plate.mesh()])


def bench() -> Mesh:
    """A bench, 1.8 m along y, that looks along x.

    Returns:
        Mesh: Slats of WOOD on METAL. The formats have no class for it: it is a FENCE, the nearest man-made thing.
    """
    parts = Assembly(SurfaceClass.FENCE)
    for x in (-0.15, 0.0, 0.15):
        parts.box((0.11, 1.8, 0.04), (x, 0, 0.45), Material.WOOD)
    for z in (0.62, 0.78):
        parts.box((0.04, 1.8, 0.11), (-0.25, 0, z), Material.WOOD)
    parts.box((0.4, 0.06, 0.43), (0, 0.7, 0.215), Material.METAL, both=True)
    parts.box((0.05, 0.06, 0.45), (-0.22, 0.7, 0.62), Material.METAL, both=True)
    return parts.mesh()


def bus_shelter() -> Mesh:
    """A bus stop's shelter, 3.6 m along y, open towards x.

    Returns:
        Mesh: Panes of GLASS between METAL posts below a flat roof; of class BUILDING.
    """
    parts = Assembly(SurfaceClass.BUILDING)
    for x in (-0.65, 0.65):
        parts.box((0.08, 0.08, 2.4), (x, 1.76, 1.2), Material.METAL, both=True)
    parts.box((1.8, 3.9, 0.14), (0.1, 0, 2.47), Material.METAL)
    parts.box((0.03, 3.4, 1.9), (-0.65, 0, 1.25), Material.GLASS)
    parts.box((1.2, 0.03, 1.9), (0, 1.76, 1.25), Material.GLASS, both=True)
    parts.box((0.35, 2.6, 0.05), (-0.4, 0, 0.48), Material.WOOD)
    parts.box((0.3, 0.06, 0.46), (-0.4, 1.0, 0.23), Material.METAL, both=True)
    return parts.mesh()


def _on_the_ground(mesh: Mesh) -> Mesh:
    """Shifted up or down until its lowest vertex is at z = 0."""
    return mesh.moved((0, 0, -float(mesh.bounds()[0][2])))


def _check_positive(what: str, **sizes_m: float) -> None:
    for name, size in sizes_m.items():
        if not size > 0:
            raise InputError(f'{what}: {name} = {size}', 'a positive length in metres', 'give it a size')
