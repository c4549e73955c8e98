"""How raw ids in a dataset's label files become the classes that it scores: the only place that says so."""

from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from cleverdistiller.datasets.palette import colour_of

_EVERY_ID = 1 << 16  # SemanticKITTI keeps the class in 16 bits; no other set needs more


@dataclass(frozen=True)
class LabelSet:
    """The classes of a dataset, in its order, and the layout of its label files.

    Args:
        raw_ids (dict[str, tuple[int, ...]]): Class name to the raw ids that count as it. The first is the one that
            benchmark servers want back. All other ids are ignored.
        ignored (tuple[int, ...]): The ids that the dataset documents and does not score.
        dtype (str): numpy's name of a label file's rows. Of unsigned ones the lower 16 bits are the class; the others,
            an instance, are dropped.
    """

    raw_ids: dict[str, tuple[int, ...]]
    ignored: tuple[int, ...]
    dtype: str

    @property
    def names(self) -> tuple[str, ...]:
        """The K classes."""
        return tuple(self.raw_ids)

    @property
    def ignore_index(self) -> int:
        """What ignored points are trained and scored as: K, the id after the last class."""
        return len(self.raw_ids)

    @property
    def max_raw_id(self) -> int:
        """The largest id that the dataset documents; a larger one means that a file is of something else."""
        return max(chain(self.ignored, *self.raw_ids.values()))

    @cached_property
    def documented(self) -> np.ndarray:
        """(65536,) bool: the ids that the dataset documents."""
        known = np.zeros(_EVERY_ID, bool)
        known[list(chain(self.ignored, *self.raw_ids.values()))] = True
        return known

    @cached_property
    def table(self) -> np.ndarray:
        """(65536,) int64: class of every raw id, ``ignore_index`` for those of no class."""
        table = np.full(_EVERY_ID, self.ignore_index, np.int64)
        for label, ids in enumerate(self.raw_ids.values()):
            table[list(ids)] = label
        return table

    @cached_property
    def first_raw_ids(self) -> np.ndarray:
        """(K,) int64: the raw id that stands for each class in a submission."""
        return np.array([ids[0] for ids in self.raw_ids.values()])

    def ids_of(self, rows: np.ndarray) -> np.ndarray:
        """(N,) raw ids in the rows of a label file, without their instances."""
        return rows & (_EVERY_ID - 1) if rows.dtype.kind == 'u' and rows.dtype.itemsize > 2 else rows

    def rows_fault(self, rows: np.ndarray) -> str | None:
        """Say what of a label file's rows cannot be.

        Args:
            rows (np.ndarray): (N,) as stored, of ``dtype``.

        Returns:
            str | None: What is wrong, or None.
        """
        ids = self.ids_of(rows)
        if len(ids) and not 0 <= ids.min() <= ids.max() <= self.max_raw_id:
            wrong = ids[(ids < 0) | (ids > self.max_raw_id)]
            return f'the label id {wrong[0]} ({len(wrong)} of {len(ids)} points out of range)'
        # 40 as a float or as a big-endian integer: an instance of no class. All of a file's points are no instances.
        if ids is not rows and len(ids) and not ids.any() and rows.any():
            return f'instances of no class alone (0x{rows.max():08x}), as of floats or of big-endian integers'
        return None

    def rows_doubts(self, ids: np.ndarray) -> dict[str, str]:
        """Say what of raw ids is unlikely; they are otherwise sound (:meth:`rows_fault`).

        Args:
            ids (np.ndarray): (N,) raw ids.

        Returns:
            dict[str, str]: Kind of doubt to the doubt.
        """
        doubts = {}
        if not (known := self.documented[ids]).all():
            strange = ids[~known]
            doubts['unknown'] = f'the label id {strange[0]} ({len(strange)} of {len(ids)} points), which is ignored'
        classes = len(self.raw_ids)
        if max(self.first_raw_ids) > classes >= ids.max(initial=0) > 0:
            doubts['training'] = (
                f'no label id above {ids.max()}, as of training ids 0 to {classes}; raw ids go up to {self.max_raw_id}'
            )
        return doubts

    def decode(self, raw: np.ndarray, unlabelled: int | None = None) -> np.ndarray:
        """Classes of raw ids.

        Args:
            raw (np.ndarray): (N,) ids from 0 to 65535.
            unlabelled (int | None): What ids of no class become; None for ``ignore_index``.

        Returns:
            np.ndarray: (N,) int64.
        """
        labels = self.table[raw]
        if unlabelled is not None:
            labels[labels == self.ignore_index] = unlabelled
        return labels

    def metainfo(self) -> dict:
        """What mmdet3d's segmentation datasets want to know."""
        every = tuple(range(len(self.raw_ids)))
        palette = [list(colour_of(name)) for name in self.names]
        return dict(classes=self.names, palette=palette, seg_valid_class_ids=every, seg_all_class_ids=every)


# nuScenes-lidarseg: the sixteen classes of the challenge and the ids of its 32 categories; 41 to 43 are the fog, snow
# and crosstalk of nuScenes-C.
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
    ),
    ignored=(0, 1, 5, 7, 8, 10, 11, 13, 19, 20, 29, 31, 41, 42, 43),
    dtype='uint8',
)

# SemanticKITTI's single-scan benchmark: moving things (252 and above) count as their kind, lane markings as road.
SEMANTIC_KITTI = LabelSet(
    {
        'car': (10, 252),
        'bicycle': (11,),
        'motorcycle': (15,),
        'truck': (18, 258),
        'other-vehicle': (20, 13, 16, 256, 257, 259),
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
    },
    ignored=(0, 1, 52, 99),
    dtype='uint32',
)

# SemanticSTF: SemanticKITTI's classes in their order; 20 is what hangs in the air (fog, snow, rain).
SEMANTIC_STF = LabelSet(
    {name: (number,) for number, name in enumerate(SEMANTIC_KITTI.names, start=1)}, ignored=(0, 20), dtype='int32'
)

# Waymo's 22 classes, by their numbers in its Segmentation.Type; 0 is undefined.
WAYMO = LabelSet(
    {
        name: (number,)
        for number, name in enumerate(
            (
                'car',
                'truck',
                'bus',
                'other_vehicle',
                'motorcyclist',
                'bicyclist',
                'pedestrian',
                'sign',
                'traffic_light',
                'pole',
                'construction_cone',
                'bicycle',
                'motorcycle',
                'building',
                'vegetation',
                'tree_trunk',
                'curb',
                'road',
                'lane_marker',
                'other_ground',
                'walkable',
                'sidewalk',
            ),
            start=1,
        )
    },
    ignored=(0,),
    dtype='uint8',
)

# RELLIS-3D: the 14 classes of its benchmark.
RELLIS_3D = LabelSet(
    dict(
        grass=(3,),
        tree=(4,),
        pole=(5,),
        water=(6,),
        vehicle=(8,),
        log=(15,),
        person=(17,),
        fence=(18,),
        bush=(19,),
        concrete=(23,),
        barrier=(27,),
        puddle=(31,),
        mud=(33,),
        rubble=(34,),
    ),
    ignored=(0, 1, 7, 9, 10, 12),
    dtype='uint32',
)

# DAPS-3D: ids as SemanticKITTI's, in the four groups of its authors.
DAPS_3D = LabelSet(
    dict(
        vehicle=(10, 11, 13, 15, 16, 18, 20, 252, 256, 257, 258, 259),
        human=(30, 31, 32, 253, 254, 255),
        surface=(40, 44, 48, 49, 60, 72),
        obstacle=(50, 51, 70, 71, 80, 81),
    ),
    ignored=(0, 1, 52, 99),
    dtype='int32',
)
