"""Operators on boxes against loops that restate their CUDA kernels; points on faces included."""

import math

import numpy as np
import pytest
import torch

from cleverdistiller.ops import point_ops
from cleverdistiller.ops.point_box_ops import (
    axis_aligned_bev_iou,
    greedy_nms,
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
    assert points_in_boxes_part(torch.tensor([[[0, 0, torch.nan]]]), box).tolist() == [[0]]  # the kernel's rule


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
