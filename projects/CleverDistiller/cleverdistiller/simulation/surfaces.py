"""What a surface is (its class) and what it is made of (its material): the two labels of every triangle."""

from enum import IntEnum


class SurfaceClass(IntEnum):
    """The finest semantic classes that any of the formats tells apart; each writer maps them to its own ids."""

    SKY = 0
    ROAD = 1
    LANE_MARKING = 2
    PARKING = 3
    CURB = 4
    SIDEWALK = 5
    OTHER_FLAT = 6
    TERRAIN = 7
    BUILDING = 8
    WALL = 9
    FENCE = 10
    VEGETATION = 11
    TRUNK = 12
    POLE = 13
    SIGN = 14
    TRAFFIC_LIGHT = 15
    CAR = 16
    TRUCK = 17
    BUS = 18
    TRAILER = 19
    CONSTRUCTION_VEHICLE = 20
    MOTORCYCLE = 21
    MOTORCYCLIST = 22
    BICYCLE = 23
    BICYCLIST = 24
    PEDESTRIAN = 25
    TRAFFIC_CONE = 26
    BARRIER = 27


# The classes of things that are objects: they have an instance, a box and perhaps a speed.
OBJECT_CLASSES = tuple(SurfaceClass)[SurfaceClass.CAR :]


class Material(IntEnum):
    """What a surface is made of: decides its look in an image and its return to a LiDAR."""

    NONE = 0
    ASPHALT = 1
    ROAD_PAINT = 2
    CONCRETE = 3
    PAVING = 4
    GRASS = 5
    PLASTER = 6
    BRICK = 7
    FACADE = 8  # a wall with windows
    ROOF = 9
    FOLIAGE = 10
    BARK = 11
    METAL = 12
    CAR_PAINT = 13  # in the instance's colour
    GLASS = 14
    RUBBER = 15
    HEADLIGHT = 16
    TAILLIGHT = 17
    CLOTH_UPPER = 18  # in the instance's colour
    CLOTH_LOWER = 19  # in the instance's second colour
    SKIN = 20
    DARK_PLASTIC = 21
    ORANGE_PLASTIC = 22
    REFLECTIVE_WHITE = 23
    SIGN_FACE = 24
    YELLOW_PAINT = 25
    CANVAS = 26  # a trailer's or truck's side, in the instance's colour
    RED_WHITE = 27  # striped barriers
    WOOD = 28
    COBBLE = 29
