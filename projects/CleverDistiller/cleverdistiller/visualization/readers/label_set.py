"""How raw ids in a dataset's label files become the classes that it scores."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelSet:
    """The classes of a dataset, in its order.

    Args:
        raw_ids (dict[str, tuple[int, ...]]): Class name to the raw ids that count as it. Other ids are unlabelled.
    """

    raw_ids: dict[str, tuple[int, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return tuple(self.raw_ids)

    def decode(self, raw: np.ndarray) -> np.ndarray:
        """(N,) int16 rows of ``names``, -1 for unlabelled, from (N,) non-negative raw ids."""
        table = np.full(1 + max(int(raw.max(initial=0)), *map(max, self.raw_ids.values())), -1, np.int16)
        for label, ids in enumerate(self.raw_ids.values()):
            table[list(ids)] = label
        return table[raw]


# nuScenes-lidarseg: the sixteen classes of the challenge and the ids of its 32 categories.
NUSCENES = LabelSet(
    dict(
        barrier=(9,),
        bicycle=(14,),
        bus=(15, 16),
        car=(17,),
        construction_vehicle=(18,),
        motorcycle=(21,),
        pedestrian=(2, 3, 4, 6),
        traffic_cone=(12,),
        trailer=(22,),
        truck=(23,),
        driveable_surface=(24,),
        other_flat=(25,),
        sidewalk=(26,),
        terrain=(27,),
        manmade=(28,),
        vegetation=(30,),
    )
)

# SemanticKITTI's single-scan benchmark: moving things (252 and above) count as their kind, lane markings as road.
SEMANTIC_KITTI = LabelSet(
    {
        'car': (10, 252),
        'bicycle': (11,),
        'motorcycle': (15,),
        'truck': (18, 258),
        'other-vehicle': (13, 16, 20, 256, 257, 259),
        'person': (30, 254),
        'bicyclist': (31, 253),
        'motorcyclist': (32, 255),
        'road': (40, 60),
        'parking': (44,),
        'sidewalk': (48,),
        'other-ground': (49,),
        'building': (50,),
        'fence': (51,),
        'vegetation': (70,),
        'trunk': (71,),
        'terrain': (72,),
        'pole': (80,),
        'traffic-sign': (81,),
    }
)
