"""mmcv's CUDA operators on points and boxes in plain torch, for any device; see :mod:`point_ops`.

Boxes are (x, y, z, dx, dy, dz, yaw) in a LiDAR frame, metres and radians, z at the **bottom**, yaw counter-
clockwise; :func:`axis_aligned_bev_iou` looks at neither z nor yaw.
"""

import torch
from torch import Tensor

from cleverdistiller.ops.point_ops import blocks, first_hits


def points_in_boxes_all(points: Tensor, boxes: Tensor) -> Tensor:
    """Which points lie in which boxes: closed in z, open in x and y, as the kernel.

    Args:
        points (Tensor): (B, M, 3) float.
        boxes (Tensor): (B, T, 7) float.

    Returns:
        Tensor: (B, M, T) int32, 1 inside.
    """
    inside = torch.zeros(*points.shape[:2], boxes.shape[1], dtype=torch.int32, device=points.device)
    for clouds, some in blocks(*boxes.shape[:2], points.shape[1]):
        inside[clouds, :, some] = points_in_boxes_mask(points[clouds], boxes[clouds, some]).transpose(1, 2).int()
    return inside


def points_in_boxes_part(points: Tensor, boxes: Tensor) -> Tensor:
    """First box that holds each point.

    Args:
        points (Tensor): (B, M, 3) float.
        boxes (Tensor): (B, T, 7) float.

    Returns:
        Tensor: (B, M) int32, -1 in no box.
    """
    num_boxes = boxes.shape[1]
    first = torch.full(points.shape[:2], num_boxes, dtype=torch.int32, device=points.device)
    for clouds, some in blocks(*boxes.shape[:2], points.shape[1]):
        batch, box, point = points_in_boxes_mask(points[clouds], boxes[clouds, some]).nonzero().unbind(1)
        rows = (batch + clouds.start) * points.shape[1] + point
        first.view(-1).scatter_reduce_(0, rows, (box + some.start).int(), 'amin')
    return first.masked_fill_(first == num_boxes, -1)


def points_in_boxes_mask(points: Tensor, boxes: Tensor) -> Tensor:
    """(B, M, 3) and (B, T, 7) to (B, T, M) bool by the kernel's comparisons, without a gradient.

    A point without a height (NaN) is inside if its x and y are: the kernel only turns away what is above or
    below.
    """
    x, y, z = points.detach().transpose(1, 2).contiguous()[:, :, None].unbind(1)  # (B, 1, M) each
    centre_x, centre_y, bottom, length, width, height, yaw = boxes.detach()[..., None].unbind(2)  # (B, T, 1)
    cos, sin = yaw.cos(), yaw.sin()
    shift_x, shift_y = x - centre_x, y - centre_y
    inside = (shift_x * cos + shift_y * sin).abs() < length / 2
    inside &= (shift_y * cos - shift_x * sin).abs() < width / 2
    return inside & ~((z - (bottom + height / 2)).abs() > height / 2)


def roi_point_pool3d(
    points: Tensor, point_features: Tensor, boxes3d: Tensor, num_sampled_points: int = 512
) -> tuple[Tensor, Tensor]:
    """Points in each RoI with their features, a fixed number each.

    The first points inside in index order; fewer than asked repeat from the first on, none gives zeros.
    The result has no gradient: mmcv's operator has no backward.

    Args:
        points (Tensor): (B, N, 3) float.
        point_features (Tensor): (B, N, C) float.
        boxes3d (Tensor): (B, M, 7) float.
        num_sampled_points (int): s.

    Returns:
        tuple[Tensor, Tensor]: (B, M, s, 3 + C) float, (B, M) int32, 1 where a RoI is empty.
    """
    num_batch, num_boxes = boxes3d.shape[:2]
    table = torch.cat([points.detach(), point_features.detach()], 2)
    pooled = table.new_zeros(num_batch, num_boxes, num_sampled_points, table.shape[2])
    empty = torch.ones(num_batch, num_boxes, dtype=torch.int32, device=points.device)
    if not points.shape[1]:
        return pooled, empty
    for clouds, some in blocks(num_batch, num_boxes, points.shape[1]):
        inside = points_in_boxes_mask(points[clouds], boxes3d[clouds, some])
        hits, count = first_hits(inside, num_sampled_points)
        slot = torch.arange(num_sampled_points, device=points.device) % count[..., None].clamp(min=1)
        batch = torch.arange(num_batch, device=points.device)[clouds, None, None]
        chosen = table[batch, hits.gather(2, slot)]  # (b, m, s, 3 + C)
        pooled[clouds, some] = chosen.masked_fill_((count == 0)[..., None, None], 0)
        empty[clouds, some] = (count == 0).int()
    return pooled, empty


def axis_aligned_bev_iou(boxes: Tensor) -> Tensor:
    """(N, 7) boxes to (N, N) overlap in bird's-eye view as if every yaw were 0."""
    low, high = boxes[:, :2] - boxes[:, 3:5] / 2, boxes[:, :2] + boxes[:, 3:5] / 2
    sides = (torch.minimum(high[:, None], high) - torch.maximum(low[:, None], low)).clamp_(min=0)
    shared, area = sides.prod(2), boxes[:, 3] * boxes[:, 4]
    return shared / (area[:, None] + area - shared).clamp(min=1e-8)


def greedy_nms(iou: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Boxes that no kept box of a higher score overlaps by more than a threshold.

    Args:
        iou (Tensor): (N, N) float, symmetric.
        scores (Tensor): (N,) float; the lower index goes first at equal scores.
        iou_threshold (float): Overlap above which the lower score is dropped; equal stays, as in CUDA.

    Returns:
        Tensor: (K,) int64, highest score first.
    """
    order = scores.argsort(descending=True, stable=True)
    above = (iou > iou_threshold)[order][:, order]
    alive = torch.ones_like(order, dtype=torch.bool)
    for rank in range(len(order)):
        if alive[rank]:
            alive[rank + 1 :] &= ~above[rank, rank + 1 :]
    return order[alive]
