"""Things with a box: what can move or be moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cleverdistiller.errors import InputError
from cleverdistiller.simulation.surfaces import OBJECT_CLASSES, Material, SurfaceClass
from cleverdistiller.simulation.things import cycles, people, street_furniture, vehicles
from cleverdistiller.simulation.things.mesh import Mesh

# Daylight below everything: the noise of the road's points must not reach into a box.
GROUND_GAP_M = 0.03

_MAKERS = {
    SurfaceClass.CAR: vehicles.car,
    SurfaceClass.TRUCK: vehicles.truck,
    SurfaceClass.BUS: vehicles.bus,
    SurfaceClass.TRAILER: vehicles.trailer,
    SurfaceClass.CONSTRUCTION_VEHICLE: vehicles.construction_vehicle,
    SurfaceClass.MOTORCYCLE: cycles.motorcycle,
    SurfaceClass.MOTORCYCLIST: cycles.motorcyclist,
    SurfaceClass.BICYCLE: cycles.bicycle,
    SurfaceClass.BICYCLIST: cycles.bicyclist,
    SurfaceClass.PEDESTRIAN: people.pedestrian,
    SurfaceClass.TRAFFIC_CONE: street_furniture.traffic_cone,
    SurfaceClass.BARRIER: street_furniture.barrier,
}


@dataclass(frozen=True)
class ObjectModel:
    """The shape and the colours of one object in its own frame: x forward, y left, z up, z = 0 the ground.

    Args:
        mesh (Mesh): Between ``-size / 2`` and ``size / 2`` in x and y, its lowest vertex ``GROUND_GAP_M`` above the
            ground; every triangle is of the object's class.
        colours (dict[Material, tuple[float, float, float]]): Linear RGB in 0..1 of the materials that have a colour
            of their own in this object; others look as they always do.
        size_lwh_m (np.ndarray): (3,) length (along x), width, height of the mesh's bounds.
    """

    mesh: Mesh
    colours: dict[Material, tuple[float, float, float]]
    size_lwh_m: np.ndarray

    @property
    def middle_m(self) -> np.ndarray:
        """(3,) middle of the box."""
        return np.array([0.0, 0.0, GROUND_GAP_M + self.size_lwh_m[2] / 2])


def make_object(surface: SurfaceClass, rng: np.random.Generator) -> ObjectModel:
    """Make one object of a class, as the dice fall.

    Args:
        surface (SurfaceClass): One of ``OBJECT_CLASSES``.
        rng (np.random.Generator): Decides variant, size, pose and colours.

    Returns:
        ObjectModel: The same for the same state of ``rng``.

    Raises:
        InputError: For a class that has no box.
    """
    if surface not in _MAKERS:
        names = ', '.join(each.name for each in OBJECT_CLASSES)
        raise InputError(f'surface {surface!r}', f'one of {names}', 'see props.py for things without a box')
    mesh, screen_colours = _MAKERS[surface](rng)
    # Palettes are written as a screen shows them; light adds up linearly.
    colours = {material: tuple(float(part) ** 2.2 for part in rgb) for material, rgb in screen_colours.items()}
    low, high = mesh.bounds()
    centre = (low.astype(float) + high) / 2
    mesh = mesh.moved((-centre[0], -centre[1], GROUND_GAP_M - float(low[2])))
    low, high = mesh.bounds()
    return ObjectModel(mesh, colours, (high - low).astype(float))
