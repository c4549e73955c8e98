"""One colour for each kind of thing, whatever a dataset calls it.

The sixteen nuScenes classes come first; what only other datasets tell apart has a shade of its own near its nuScenes
relative, so that two classes of one dataset never look alike.
"""

_COLOURS = dict(
    barrier=(150, 150, 165),
    bicycle=(255, 165, 150),
    bus=(0, 205, 205),
    car=(85, 150, 255),
    construction_vehicle=(255, 210, 0),
    motorcycle=(255, 125, 190),
    pedestrian=(255, 40, 40),
    traffic_cone=(255, 130, 0),
    trailer=(60, 115, 165),
    truck=(125, 95, 245),
    driveable_surface=(190, 70, 190),
    other_flat=(165, 35, 90),
    sidewalk=(125, 75, 185),
    terrain=(150, 220, 90),
    manmade=(200, 172, 135),
    vegetation=(40, 160, 60),
    # Not told apart by nuScenes.
    bicyclist=(255, 105, 85),
    motorcyclist=(215, 60, 135),
    other_vehicle=(150, 175, 225),
    van=(40, 95, 215),
    sitting_person=(200, 0, 60),
    parking=(240, 155, 240),
    lane_marking=(252, 236, 252),
    curb=(175, 110, 105),
    walkable=(160, 120, 215),
    fence=(150, 150, 80),
    trunk=(135, 80, 40),
    pole=(250, 240, 165),
    sign=(255, 255, 80),
    traffic_light=(110, 255, 205),
    # Off the road (RELLIS-3D).
    tree=(20, 110, 45),
    bush=(95, 190, 60),
    water=(30, 120, 190),
    puddle=(120, 190, 210),
    mud=(120, 95, 60),
    log=(170, 105, 60),
    rubble=(190, 180, 170),
    concrete=(200, 160, 220),
    # Points of an error picture.
    correct=(88, 94, 104),
    wrong=(255, 45, 45),
    # Boxes of a detection picture.
    found=(215, 218, 226),
    missed=(255, 190, 0),
    false=(255, 60, 60),
    hit=(60, 225, 110),
)

# Other datasets' names, in lower case with underscores.
_SAME_AS = dict(
    person='pedestrian',
    person_sitting='sitting_person',
    cyclist='bicyclist',
    vehicle='car',
    tram='bus',
    misc='other_vehicle',
    road='driveable_surface',
    other_ground='other_flat',
    building='manmade',
    tree_trunk='trunk',
    traffic_sign='sign',
    lane_marker='lane_marking',
    construction_cone='traffic_cone',
    grass='terrain',
    human='pedestrian',
    surface='driveable_surface',
    obstacle='manmade',
)

OTHER = (105, 105, 112)  # unlabelled points, and things that the palette does not know


def colour_of(name: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of a class or box type under any dataset's name; ``OTHER`` if it has none."""
    key = name.lower().replace('-', '_').replace(' ', '_')
    return _COLOURS.get(_SAME_AS.get(key, key), OTHER)
