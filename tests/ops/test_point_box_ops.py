"""Operators on boxes against loops that restate their CUDA kernels; points on faces included."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from cleverdistiller.ops import point_ops
from cleverdistiller.ops.point_box_ops import (
    OVERLAP_MARGIN_M,
    axis_aligned_bev_iou,
    boxes_iou3d,
    boxes_overlap_bev,
    greedy_nms,
    nms3d,
    nms3d_normal,
    points_in_boxes_all,
    points_in_boxes_part,
    roi_point_pool3d,
)


@pytest.fixture(autouse=True, params=[7, 2**18], ids=['many blocks', 'one block'])
def block_size(request, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(point_ops, 'PAIRS_AT_ONCE', request.param)


def random_scene(num_points=60, num_boxes=9):
    points = torch.rand(2, num_points, 3) * 4
    boxes = torch.cat([torch.rand(2, num_boxes, 3) * 4 - 0.5, torch.rand(2, num_boxes, 4) * 3], 2)
    return points, boxes


def faces_scene():
    """Lattice points on faces, edges and corners of boxes with whole sizes, some of zero size."""
    points = torch.cartesian_prod(*[torch.arange(-2.0, 3)] * 3)
    boxes = [
        [0, 0, -1, 2, 4, 2, 0],
        [0, 0, 0, 0, 2, 2, 0],
        [0, 0, 0, 2, 2, 0, 0],
        [0, 0, -2, 3, 3, 4, 0],
        [1] + 6 * [0],
    ]
    return points[None], torch.tensor([boxes]).float()


SCENES = {
    'random': random_scene,
    'faces': faces_scene,
    'no boxes': lambda: random_scene(num_boxes=0),
    'no points': lambda: random_scene(num_points=0),
}


@pytest.fixture(params=SCENES)
def scene(request):
    return SCENES[request.param]()


def kernel_inside(point, box) -> bool:
    x, y, z = point.numpy()
    centre_x, centre_y, bottom, length, width, height, yaw = box.numpy()
    if abs(z - (bottom + height / 2)) > height / 2:
        return False
    cos, sin = np.float32(math.cos(-yaw)), np.float32(math.sin(-yaw))
    local_x = (x - centre_x) * cos + (y - centre_y) * -sin
    local_y = (x - centre_x) * sin + (y - centre_y) * cos
    return bool(-length / 2 < local_x < length / 2 and -width / 2 < local_y < width / 2)


def kernel_table(points, boxes) -> torch.Tensor:
    table = torch.zeros(*points.shape[:2], boxes.shape[1], dtype=torch.int32)
    for b, m, t in np.ndindex(*table.shape):
        table[b, m, t] = kernel_inside(points[b, m], boxes[b, t])
    return table


def test_points_in_boxes_equal_the_kernel(scene):
    table = kernel_table(*scene)
    assert torch.equal(points_in_boxes_all(*scene), table)
    part = points_in_boxes_part(*scene)
    assert part.dtype == torch.int32
    expected = [[next((t for t, held in enumerate(row) if held), -1) for row in cloud.tolist()] for cloud in table]
    assert part.tolist() == expected


def test_boxes_are_closed_in_z_and_open_in_x_and_y():
    box = torch.tensor([[[0, 0, 0, 2, 2, 2, 0.0]]])
    points = torch.tensor([[[0, 0, 0], [0, 0, 2], [1, 0, 1], [0, -1, 1], [0, 0, 2.001], [0.999, -0.999, 0]]])
    assert points_in_boxes_part(points, box).tolist() == [[0, 0, -1, -1, -1, 0]]


@pytest.mark.parametrize('axis', range(3))
def test_a_point_that_is_nan_is_in_no_box(axis):
    points, box = torch.zeros(1, 1, 3), torch.tensor([[[0, 0, -1, 2, 2, 2, 0.5]]])
    assert points_in_boxes_part(points, box).tolist() == [[0]]
    points[..., axis] = torch.nan
    assert points_in_boxes_part(points, box).tolist() == [[-1]]
    assert points_in_boxes_all(points, box).tolist() == [[[0]]]
    assert roi_point_pool3d(points, torch.ones(1, 1, 2), box, 4)[1].tolist() == [[1]]


def test_yaw_turns_counter_clockwise():
    box = torch.tensor([[[0, 0, 0, 4, 1, 2, math.pi / 4]]])
    points = torch.tensor([[[1.0, 1, 1], [1, -1, 1]]])
    assert points_in_boxes_part(points, box).tolist() == [[0, -1]]


@pytest.mark.parametrize('wanted', [1, 3, 50])
def test_roi_pooling_equals_the_kernel(scene, wanted):
    points, boxes = scene
    features = torch.randn(*points.shape[:2], 4, requires_grad=True)
    pooled, empty = roi_point_pool3d(points, features, boxes, wanted)
    assert pooled.shape == (*boxes.shape[:2], wanted, 7) and not pooled.requires_grad
    assert empty.shape == boxes.shape[:2] and empty.dtype == torch.int32
    table = kernel_table(points, boxes)
    for b, t in np.ndindex(*boxes.shape[:2]):
        inside = [m for m in range(points.shape[1]) if table[b, m, t]][:wanted]
        assert empty[b, t] == (not inside)
        for slot in range(wanted):
            row = torch.zeros(7)
            if inside:
                m = inside[slot % len(inside)]
                row = torch.cat([points[b, m], features[b, m].detach()])
            assert torch.equal(pooled[b, t, slot], row)


def test_random_rois_are_empty_full_and_in_between():
    table = kernel_table(*random_scene()).sum(1)
    assert (table == 0).any() and (table > 3).any() and ((table > 0) & (table < 50)).any()


def kernel_overlap(a, b) -> float:
    """One pair of boxes, one side and one corner at a time, in float32 as one thread of the kernel."""
    a, b = a.numpy().astype(np.float32)[[0, 1, 3, 4, 6]], b.numpy().astype(np.float32)[[0, 1, 3, 4, 6]]

    def corners(box):
        centre, cos, sin = box[:2], np.cos(box[4]), np.sin(box[4])
        found = []
        for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            x, y = centre + np.float32([x, y]) * (box[2:4] / 2) - centre
            found.append(np.float32([x * cos - y * sin, x * sin + y * cos]) + centre)
        return found

    def cross(u, v):
        return u[0] * v[1] - u[1] * v[0]

    def holds(box, point):
        (x, y), cos, sin = point - box[:2], np.cos(-box[4]), np.sin(-box[4])
        limit = box[2:4] / 2 + np.float32(0.01)
        return abs(x * cos - y * sin) < limit[0] and abs(x * sin + y * cos) < limit[1]

    corners_a, corners_b, points = corners(a), corners(b), []
    for i in range(4):
        for j in range(4):
            p, p_end, q, q_end = corners_a[i], corners_a[(i + 1) % 4], corners_b[j], corners_b[(j + 1) % 4]
            one, two = cross(q - p, p_end - p), cross(p_end - p, q_end - p)
            if one * two > 0 and cross(p - q, q_end - q) * cross(q_end - q, p_end - q) > 0:
                points.append((two * q + one * q_end) / (one + two))
    for k in range(4):
        points += [corners_b[k]] * holds(a, corners_b[k]) + [corners_a[k]] * holds(b, corners_a[k])
    if not points:
        return 0.0
    centre = sum(points) / np.float32(len(points))
    points.sort(key=lambda point: np.arctan2(*(point - centre)[::-1]))
    area = sum(cross(p - points[0], q - points[0]) for p, q in pairwise(points))
    return float(abs(area) / 2)


def where_boxes_meet() -> torch.Tensor:
    """A car, and others that are equal to it, in it, around it, across it, and just beside it."""
    car = torch.tensor([10, -4, 0, 4, 2, 1.5, 0])
    others = [
        [0] * 7,
        [0, 0, 0, 0, 0, 0, math.pi],
        [0, 0, 0, 0, 0, 0, math.pi / 2],
        [0, 0, 0, 0, 0, 0, math.pi / 4],
        [0, 0, 0, -2, -1, 0, 0.3],
        [0, 0, 0, 4, 4, 0, -0.2],
        [0, 0, 0, -3.5, 4, 0, 0],
        [4.005, 0, 0, 0, 0, 0, 0],  # half the margin apart: shares a strip
        [4.02, 0, 0, 0, 0, 0, 0],  # twice the margin
        [0, 2.005, 0, 0, 0, 0, math.pi],
        [4, 2, 0, 0, 0, 0, 0],  # corner to corner
        [0, 0, 0, -4, -2, 0, 0],  # without extent
        [50, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, math.nan],
    ]
    return car + torch.tensor(others)


@pytest.mark.parametrize('make', [where_boxes_meet, lambda: random_scene()[1][0], lambda: random_scene()[1][0] - 1])
def test_the_overlap_of_rotated_boxes_equals_the_kernel(make):
    boxes = make()
    others = torch.cat([boxes[2:] + 0.05, boxes])
    found = boxes_overlap_bev(boxes, others)
    assert found.shape == (len(boxes), len(others)) and found.dtype == torch.float32
    expected = [[kernel_overlap(box, other) for other in others] for box in boxes]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-5)
    assert (found > 0).any() and (found == 0).any()


def test_a_strip_within_the_margin_is_shared():
    car, *_, apart = where_boxes_meet()[[0, 7, 8]]
    near = where_boxes_meet()[7]
    assert boxes_overlap_bev(car[None], near[None]).item() == pytest.approx(2 * OVERLAP_MARGIN_M / 2, rel=1e-3)
    assert boxes_overlap_bev(car[None], apart[None]).item() == 0
    assert boxes_overlap_bev(car[None], car[None]).item() == pytest.approx(8)
    assert boxes_overlap_bev(car[None], torch.zeros(0, 7)).shape == (1, 0)
    assert boxes_overlap_bev(car[None].double(), car[None].double().requires_grad_()).requires_grad is False


def test_the_iou_in_space_takes_z_as_the_middle():
    boxes = random_scene()[1][0]
    boxes[:, :3] /= 3
    found = boxes_iou3d(boxes, boxes)
    for i, j in np.ndindex(*found.shape):
        a, b = boxes[i].tolist(), boxes[j].tolist()
        height = min(a[2] + a[5] / 2, b[2] + b[5] / 2) - max(a[2] - a[5] / 2, b[2] - b[5] / 2)
        shared = kernel_overlap(boxes[i], boxes[j]) * max(height, 0)
        union = math.prod(a[3:6]) + math.prod(b[3:6]) - shared
        assert float(found[i, j]) == pytest.approx(shared / max(union, 1e-6), abs=1e-4)
    assert (found > 0.1).sum() > len(boxes) and (found == 0).any()


@pytest.mark.parametrize('rotated', [True, False])
def test_nms_equals_a_loop_over_the_kernels_overlaps(rotated):
    boxes = torch.cat([random_scene(num_boxes=14)[1][0], where_boxes_meet()[:8]])
    boxes[:, 3:6] += 0.1
    scores = torch.rand(len(boxes))
    flat = boxes if rotated else boxes * torch.tensor([1, 1, 1, 1, 1, 1, 0])
    kept = []
    for i in scores.argsort(descending=True).tolist():
        overlaps = [(kernel_overlap(flat[j], flat[i]), boxes[[i, j], 3:5].prod(1).sum().item()) for j in kept]
        if all(shared / max(area - shared, 1e-8) <= 0.3 for shared, area in overlaps):
            kept.append(i)
    assert 4 < len(kept) < len(boxes) - 2
    assert (nms3d if rotated else nms3d_normal)(boxes, scores, 0.3).tolist() == kept


def test_axis_aligned_overlap_equals_a_loop():
    touching = torch.tensor([[0, 0, 0, 2, 2, 1, 1.0], [2, 0, 0, 2, 2, 1, 0], [0] * 7])
    boxes = torch.cat([random_scene()[1][0], touching])
    iou = axis_aligned_bev_iou(boxes)
    low, high = boxes[:, :2] - boxes[:, 3:5] / 2, boxes[:, :2] + boxes[:, 3:5] / 2
    for i, j in np.ndindex(*iou.shape):
        shared = math.prod(max(float(min(high[i, k], high[j, k]) - max(low[i, k], low[j, k])), 0) for k in (0, 1))
        union = float(boxes[i, 3] * boxes[i, 4] + boxes[j, 3] * boxes[j, 4]) - shared
        assert float(iou[i, j]) == pytest.approx(shared / max(union, 1e-8), abs=1e-5)


def test_greedy_nms_equals_a_loop_and_keeps_an_overlap_equal_to_the_threshold():
    iou = torch.rand(30, 30).mul(10).round().div(10)
    iou = torch.maximum(iou, iou.T)
    scores = torch.randint(0, 5, (30,)).float()
    kept = []
    for box in sorted(range(30), key=lambda i: (-scores[i], i)):
        if all(iou[box, other] <= 0.5 for other in kept):
            kept.append(box)
    assert 1 < len(kept) < 30
    assert greedy_nms(iou, scores, 0.5).tolist() == kept
    assert greedy_nms(torch.full((2, 2), 0.5), torch.ones(2), 0.5).tolist() == [0, 1]
    assert greedy_nms(torch.zeros(0, 0), torch.zeros(0), 0.5).tolist() == []
