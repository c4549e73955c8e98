"""Overlaps of rotated boxes against shapely, box by box, and where corners and sides meet."""

import math

import numpy as np
import pytest
import torch
from shapely import affinity
from shapely.geometry import box as rectangle

from cleverdistiller.ops import rotated_iou
from cleverdistiller.ops.rotated_iou import bev_intersection, bev_iou, iou_3d

CAR = [10.0, -4.0, 3.9, 1.6, 0.3]


def polygon(box):
    """(5,) as shapely builds it."""
    x, y, length, width, yaw = map(float, box)
    return affinity.translate(
        affinity.rotate(rectangle(-length / 2, -width / 2, length / 2, width / 2), yaw, (0, 0), use_radians=True), x, y
    )


def slow_iou_3d(box, other):
    """(7,) and (7,), bottoms."""
    flat = [0, 1, 3, 4, 6]
    area = polygon(box[flat]).intersection(polygon(other[flat])).area
    top, bottom = min(box[2] + box[5], other[2] + other[5]), max(box[2], other[2])
    shared = float(area * max(top - bottom, 0))
    return shared / (float(box[3:6].prod() + other[3:6].prod()) - shared)


def random_boxes(count: int, spread_m: float = 4) -> torch.Tensor:
    """(N, 7) of the sizes of cars and pedestrians, crowded."""
    rng = np.random.default_rng(count)
    centres = rng.uniform(-spread_m, spread_m, (count, 3)) * [1, 1, 0.2]
    return torch.from_numpy(np.hstack([centres, rng.uniform(0.3, 5, (count, 3)), rng.uniform(-7, 7, (count, 1))]))


def test_all_pairs_equal_shapely(monkeypatch):
    monkeypatch.setattr(rotated_iou, 'PAIRS_AT_ONCE', 100)  # several parts
    boxes, others = random_boxes(30), random_boxes(31)
    flat = [0, 1, 3, 4, 6]
    ours = bev_intersection(boxes[:, None, flat], others[None, :, flat])
    slow = [[polygon(a).intersection(polygon(b)).area for b in others[:, flat]] for a in boxes[:, flat]]
    assert ours.shape == (30, 31) and (ours > 0).sum() > 300
    np.testing.assert_allclose(ours, slow, atol=1e-10)
    slow = [[slow_iou_3d(a, b) for b in others] for a in boxes]
    np.testing.assert_allclose(iou_3d(boxes[:, None], others), slow, atol=1e-10)


def moved(dx=0.0, dy=0.0, dyaw=0.0, along=1.0, across=1.0) -> torch.Tensor:
    """The car, moved along and across its own heading."""
    x, y, length, width, yaw = CAR
    x, y = x + dx * math.cos(yaw) - dy * math.sin(yaw), y + dx * math.sin(yaw) + dy * math.cos(yaw)
    return torch.tensor([x, y, length * along, width * across, yaw + dyaw], dtype=torch.float64)


@pytest.mark.parametrize(
    ('other', 'iou'),
    [
        (moved(), 1),  # identical
        (moved(dyaw=math.pi), 1),  # the other way round
        (moved(dyaw=2 * math.pi), 1),
        (moved(dyaw=1e-9), 1),
        (moved(dx=1e-12, dy=-1e-12), 1),
        (moved(dx=3.9), 0),  # touching at an end
        (moved(dy=1.6), 0),  # and at a side
        (moved(dx=3.9, dy=1.6), 0),  # at a corner
        (moved(dx=1.95), 1 / 3),  # sides on one line
        (moved(along=0.5, across=0.5), 0.25),  # inside
        (moved(along=0.5), 0.5),  # inside, two sides on the same lines
        (moved(dx=3.9 / 4, dy=0.4, along=0.5, across=0.5), 0.25),  # inside, a corner in common
        (moved(dyaw=math.pi / 2, along=1.6 / 3.9, across=3.9 / 1.6), 1),  # the same sides under other names
        (moved(along=0.0), 0),  # without extent
        (moved(dx=50.0), 0),
    ],
)
def test_where_sides_and_corners_meet(other, iou):
    car = torch.tensor(CAR, dtype=torch.float64)
    for first, second in ((car, other), (other, car)):
        assert bev_iou(first, second).item() == pytest.approx(iou, abs=1e-8)
        assert bev_iou(first.float(), second.float()).dtype == torch.float64
    if torch.equal(car, other):
        assert bev_iou(car, other) == 1


def test_an_octagon_and_a_star_of_shared_corners():
    square = torch.tensor([0, 0, 2, 2, 0.0])
    turned = torch.tensor([0, 0, 2, 2, math.pi / 4])
    assert bev_intersection(square, turned).item() == pytest.approx(8 * (math.sqrt(2) - 1))
    diamond = torch.tensor([0, 0, math.sqrt(2), math.sqrt(2), math.pi / 4])  # its corners lie on the square's sides
    assert bev_intersection(square, diamond).item() == pytest.approx(2, abs=1e-6)


def test_height_counts_from_the_bottom():
    box = torch.tensor([1, 2, 0, 4, 2, 1.5, 0.4])
    raised = box + torch.tensor([0, 0, 0.5, 0, 0, 0, 0])
    assert iou_3d(box, box) == 1
    assert iou_3d(box, raised).item() == pytest.approx(1 / 2)
    assert iou_3d(box, box + torch.tensor([0, 0, 1.5, 0, 0, 0, 0])) == 0
    assert bev_iou(box[[0, 1, 3, 4, 6]], raised[[0, 1, 3, 4, 6]]) == 1


def test_nothing_with_nothing():
    assert bev_iou(torch.zeros(0, 1, 5), torch.ones(3, 5)).shape == (0, 3)
    assert iou_3d(torch.zeros(7), torch.zeros(7)) == 0  # no union either
