"""Made-up KITTI frames that make every rule of the benchmark count."""

import numpy as np

from cleverdistiller.evaluation.kitti_ap import KittiDetections, KittiTruth

TYPES = ('Car', 'Car', 'Car', 'Van', 'Pedestrian', 'Pedestrian', 'Person_sitting', 'Cyclist', 'Truck', 'DontCare')


def truth_of(name=(), box_px=(), box_cam=(), alpha=None, occluded=None, truncated=None) -> KittiTruth:
    """A frame's objects from lists; all visible unless said otherwise."""
    return KittiTruth(
        np.array(name, dtype=str),
        np.array(box_px, float).reshape(-1, 4),
        np.array(box_cam, float).reshape(-1, 7),
        np.array(np.zeros(len(name)) if alpha is None else alpha, float),
        np.array(np.zeros(len(name)) if occluded is None else occluded, int),
        np.array(np.zeros(len(name)) if truncated is None else truncated, float),
    )


def found_of(name=(), box_px=(), box_cam=(), score=(), alpha=None) -> KittiDetections:
    """A frame's detections from lists."""
    return KittiDetections(
        np.array(name, dtype=str),
        np.array(box_px, float).reshape(-1, 4),
        np.array(box_cam, float).reshape(-1, 7),
        np.array(np.zeros(len(name)) if alpha is None else alpha, float),
        np.array(score, float),
    )


def random_frames(seed: int, count: int, most_objects: int = 14) -> tuple[list[KittiTruth], list[KittiDetections]]:
    """Crowds that compete for detections, several detections an object, scores with ties, empty frames."""
    rng = np.random.default_rng(seed)
    frames = [_random_frame(rng, most_objects) for _ in range(count)]
    return [truth for truth, _ in frames], [found for _, found in frames]


def _random_frame(rng: np.random.Generator, most_objects: int) -> tuple[KittiTruth, KittiDetections]:
    objects = int(rng.integers(1, most_objects + 1)) if rng.random() > 0.1 else 0
    name = rng.choice(TYPES, objects)
    pixel = rng.uniform([0, 0, 20, 20], [400, 60, 90, 75], (objects, 4))
    box_px = np.round(np.hstack([pixel[:, :2], pixel[:, :2] + pixel[:, 2:]]), 1)
    box_cam = np.hstack(
        [
            rng.uniform([-10, 1, 5], [10, 2, 40], (objects, 3)),
            rng.uniform([1, 1.4, 0.6], [4, 1.8, 1.8], (objects, 3)),
            rng.uniform(-np.pi, np.pi, (objects, 1)),
        ]
    )
    for row in range(1, objects):  # every third lies almost on the one before
        if rng.random() < 1 / 3:
            box_px[row] = box_px[row - 1] + rng.normal(0, 2, 4)
            box_cam[row] = box_cam[row - 1] + rng.normal(0, 0.05, 7)
    region = name == 'DontCare'
    box_cam[region] = [-1000, -1000, -1000, -1, -1, -1, -10]
    truth = truth_of(
        name,
        box_px,
        box_cam,
        np.where(region, -10, rng.uniform(-np.pi, np.pi, objects)),
        np.where(region, -1, rng.choice([0, 0, 0, 1, 2, 3], objects)),
        np.where(region, -1, rng.choice([0, 0, 0.15, 0.2, 0.3, 0.6], objects)),
    )
    copies = np.repeat(np.arange(objects), rng.choice([0, 1, 1, 2, 3], objects)) if rng.random() > 0.1 else []
    copies = rng.permutation(copies).astype(int)
    jitter = rng.choice([0, 0.3, 1], (len(copies), 1))  # exact ones too
    found_cam = box_cam[copies] + jitter * rng.normal(0, 0.1, (len(copies), 7))
    found_cam[:, 3:6] = np.abs(found_cam[:, 3:6]) + 0.01
    fallen = region[copies]
    found_cam[fallen] = rng.uniform([-10, 1, 5, 1, 1, 1, -3], [10, 2, 40, 4, 2, 2, 3], (fallen.sum(), 7))
    kinds = np.array(['Car', 'Pedestrian', 'Cyclist'])
    own = np.isin(name[copies], kinds) & (rng.random(len(copies)) < 0.9)
    found = found_of(
        np.where(own, name[copies], rng.choice(kinds, len(copies))),
        box_px[copies] + jitter * rng.normal(0, 4, (len(copies), 4)),
        found_cam,
        np.round(rng.uniform(-0.2, 1, len(copies)), 1),
        rng.uniform(-np.pi, np.pi, len(copies)),
    )
    return truth, found
