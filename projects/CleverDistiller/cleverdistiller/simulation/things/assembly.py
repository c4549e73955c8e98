"""Puts a thing together from shapes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from cleverdistiller.simulation.surfaces import Material, SurfaceClass
from cleverdistiller.simulation.things.mesh import Mesh, box, cylinder, ellipsoid, extrude, wheel
from cleverdistiller.simulation.things.shapes import loft, mirrored, ring, slab, tube


class Assembly:
    """Collects shapes of one class; each method adds one, as the function of its name in mesh.py or shapes.py makes it.

    With ``both`` a shape is added on the other side of y = 0 as well. All lengths are metres.

    Args:
        surface (SurfaceClass): Class of what is added.
    """

    def __init__(self, surface: SurfaceClass) -> None:
        self.surface = surface
        self._parts: list[Mesh] = []

    def mesh(self) -> Mesh:
        """All that was added."""
        return Mesh.join(self._parts)

    def add(self, mesh: Mesh, both: bool = False) -> None:
        """Add a ready mesh."""
        self._parts += [mesh, mirrored(mesh)] if both else [mesh]

    def box(self, size_m: Iterable, centre_m: Iterable, material: Material, both: bool = False) -> None:
        """Add a cuboid."""
        self.add(box(size_m, centre_m, self.surface, material), both)

    def tube(
        self,
        start_m: Iterable,
        end_m: Iterable,
        radius_m: float,
        material: Material,
        both: bool = False,
        sides: int = 6,
        end_radius_m: float | None = None,
    ) -> None:
        """Add a round bar."""
        self.add(tube(start_m, end_m, radius_m, self.surface, material, sides, end_radius_m), both)

    def polyline(self, points_m: Iterable, radius_m: float, material: Material, both: bool = False) -> None:
        """Add round bars from point to point, (K, 3)."""
        for start, end in pairwise(np.asarray(points_m, float)):
            self.tube(start, end, radius_m, material, both)

    def slab(self, corners_m: Iterable, thickness_m: float, material: Material, both: bool = False) -> None:
        """Add a flat panel."""
        self.add(slab(corners_m, thickness_m, self.surface, material), both)

    def loft(self, sections_m: np.ndarray, material: Material, both: bool = False) -> None:
        """Add a skin over outlines."""
        self.add(loft(sections_m, self.surface, material), both)

    def extrude(
        self,
        profile_xz: Iterable,
        width_m: float,
        material: Material,
        top_width_m: float | None = None,
        y_m: float = 0.0,
        both: bool = False,
    ) -> None:
        """Add a side view of some width, its middle at ``y_m``."""
        self.add(extrude(profile_xz, width_m, self.surface, material, top_width_m).moved((0, y_m, 0)), both)

    def beam(
        self,
        start_xz: Iterable,
        end_xz: Iterable,
        heights_m: tuple[float, float],
        width_m: float,
        material: Material,
        y_m: float = 0.0,
        both: bool = False,
    ) -> None:
        """Add a flat bar from (2,) to (2,) in a plane of constant y, as high as told at its two ends."""
        start, end = np.asarray(start_xz, float), np.asarray(end_xz, float)
        across = np.array([start[1] - end[1], end[0] - start[0]]) / np.linalg.norm(end - start)
        near, far = across * heights_m[0] / 2, across * heights_m[1] / 2
        self.extrude([start + near, end + far, end - far, start - near], width_m, material, y_m=y_m, both=both)

    def cylinder(
        self,
        radius_m: float,
        height_m: float,
        base_m: Iterable,
        material: Material,
        both: bool = False,
        sides: int = 10,
        top_radius_m: float | None = None,
    ) -> None:
        """Add an upright cylinder or cone that stands on ``base_m``, (3,)."""
        self.add(cylinder(radius_m, height_m, self.surface, material, sides, top_radius_m).moved(base_m), both)

    def ellipsoid(
        self,
        radii_m: Iterable,
        centre_m: Iterable,
        material: Material,
        both: bool = False,
        rings: int = 6,
        sides: int = 8,
    ) -> None:
        """Add a squeezed ball."""
        self.add(ellipsoid(radii_m, centre_m, self.surface, material, rings, sides), both)

    def ring(self, radius_m: float, tube_radius_m: float, centre_m: Iterable, material: Material) -> None:
        """Add a torus with its axle along y."""
        self.add(ring(radius_m, tube_radius_m, centre_m, self.surface, material))

    def wheels(self, radius_m: float, width_m: float, x_m: Iterable[float], y_m: float) -> None:
        """Add a pair of wheels on the ground at each ``x_m``, ``y_m`` to the left and right."""
        for x in x_m:
            self.add(wheel(radius_m, width_m, (x, y_m, radius_m), self.surface), both=True)
