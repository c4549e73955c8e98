"""mmcv's CUDA operators on points and boxes in plain torch, for any device; see :mod:`point_ops`.

Boxes are (x, y, z, dx, dy, dz, yaw) in a LiDAR frame, metres and radians, z at the **bottom**, yaw counter-
clockwise; :func:`axis_aligned_bev_iou` looks at neither z nor yaw, :func:`boxes_iou3d` takes z as the **middle**.
"""

import torch
from torch import Tensor

from cleverdistiller.ops.point_ops import blocks, first_hits

# A corner this far outside a box, along its axes, still counts as inside: the kernel's tolerance. It rounds in float32.
OVERLAP_MARGIN_M = 1e-2
OVERLAPS_AT_ONCE = 2**14  # some 50 MiB of corners and crossings


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

    A point that is NaN is in no box. The kernel lets one without a height in, for it only turns away what is above or
    below; no loader lets such a point through.
    """
    x, y, z = points.detach().transpose(1, 2).contiguous()[:, :, None].unbind(1)  # (B, 1, M) each
    centre_x, centre_y, bottom, length, width, height, yaw = boxes.detach()[..., None].unbind(2)  # (B, T, 1)
    cos, sin = yaw.cos(), yaw.sin()
    shift_x, shift_y = x - centre_x, y - centre_y
    inside = (shift_x * cos + shift_y * sin).abs() < length / 2
    inside &= (shift_y * cos - shift_x * sin).abs() < width / 2
    return inside & ((z - (bottom + height / 2)).abs() <= height / 2)


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


def boxes_overlap_bev(boxes: Tensor, others: Tensor) -> Tensor:
    """Area that rotated boxes share in bird's-eye view, by the kernel's rule.

    The corners are what is left of both outlines: crossings of sides, and corners in the other box or up to
    :data:`OVERLAP_MARGIN_M` outside. Boxes that nearly touch share a little, and a box with itself its area. For areas
    without the margin: :func:`cleverdistiller.ops.rotated_iou.bev_intersection`.

    Args:
        boxes (Tensor): (N, 7) float.
        others (Tensor): (M, 7) float.

    Returns:
        Tensor: (N, M) float32, square metres, without a gradient.
    """
    boxes, others = (rows.detach()[:, [0, 1, 3, 4, 6]].float() for rows in (boxes, others))
    areas = boxes.new_zeros(len(boxes), len(others))
    reach, other_reach = (rows[:, 2:4].norm(dim=1) / 2 + 2 * OVERLAP_MARGIN_M for rows in (boxes, others))
    for _, some in blocks(1, len(boxes), len(others)):
        distance = (boxes[some, None, :2] - others[:, :2]).norm(dim=2)
        row, column = (distance < reach[some, None] + other_reach).nonzero().unbind(1)
        row += some.start
        for one, other in zip(row.split(OVERLAPS_AT_ONCE), column.split(OVERLAPS_AT_ONCE)):
            areas[one, other] = _overlap(boxes[one], others[other])
    return areas


def boxes_iou3d(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union in space: :func:`boxes_overlap_bev` times the shared height, as in mmcv.

    Args:
        boxes (Tensor): (N, 7) float, z in the middle of the height.
        others (Tensor): (M, 7) float, likewise.

    Returns:
        Tensor: (N, M) float32, without a gradient.
    """
    boxes, others = boxes.detach().float(), others.detach().float()
    low, high = (boxes[:, None, 2] + sign * boxes[:, None, 5] / 2 for sign in (-1, 1))
    other_low, other_high = (others[:, 2] + sign * others[:, 5] / 2 for sign in (-1, 1))
    height = (torch.minimum(high, other_high) - torch.maximum(low, other_low)).clamp_(min=0)
    shared = boxes_overlap_bev(boxes, others) * height
    return shared / (boxes[:, None, 3:6].prod(2) + others[:, 3:6].prod(1) - shared).clamp(min=1e-6)


def _overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """(P, 5) and (P, 5) x, y, length, width and yaw to (P,) square metres."""
    corners, other_corners = _corners(boxes), _corners(others)  # (P, 4, 2), in turn
    crossings, crosses = _crossings(corners, other_corners)
    within = torch.stack([_within(boxes, other_corners), _within(others, corners)], 2)  # (P, 4, 2)
    points = torch.cat([crossings, torch.stack([other_corners, corners], 2).flatten(1, 2)], 1)  # (P, 24, 2)
    valid = torch.cat([crosses, within.flatten(1)], 1)
    points = points.masked_fill_(~valid[..., None], 0)
    offsets = points - points.sum(1, keepdim=True) / valid.sum(1).clamp(min=1)[:, None, None]
    angle = torch.atan2(offsets[..., 1], offsets[..., 0]).masked_fill_(~valid, torch.inf)
    order = angle.sort(dim=1, stable=True).indices
    points = points.gather(1, order[..., None].expand_as(points))
    spokes = (points - points[:, :1]).masked_fill_(~valid.gather(1, order)[..., None], 0)
    return _cross(spokes[:, :-1], spokes[:, 1:]).sum(1).abs() / 2


def _corners(boxes: Tensor) -> Tensor:
    """(P, 5) to (P, 4, 2), turned by the yaw."""
    signs = boxes.new_tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    centre, cos, sin = boxes[:, None, :2], boxes[:, 4, None].cos(), boxes[:, 4, None].sin()
    x, y = (centre + signs * (boxes[:, None, 2:4] / 2) - centre).unbind(2)
    return torch.stack([x * cos - y * sin, x * sin + y * cos], 2) + centre


def _within(boxes: Tensor, corners: Tensor) -> Tensor:
    """(P, 5) and (P, 4, 2) to (P, 4) bool."""
    cos, sin = boxes[:, 4, None].cos(), boxes[:, 4, None].sin()
    x, y = (corners - boxes[:, None, :2]).unbind(2)
    local = torch.stack([x * cos + y * sin, y * cos - x * sin], 2)
    return (local.abs() < boxes[:, None, 2:4] / 2 + OVERLAP_MARGIN_M).all(2)


def _crossings(corners: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """(P, 4, 2) and (P, 4, 2) to (P, 16, 2) where sides cross, and (P, 16) bool, which do: to touch is not to cross."""
    p0, q0 = corners[:, :, None], others[:, None]  # each side of one against each side of the other
    p1, q1 = corners.roll(-1, 1)[:, :, None], others.roll(-1, 1)[:, None]
    q0_beside_p, q1_beside_p = _cross(q0 - p0, p1 - p0), _cross(p1 - p0, q1 - p0)  # of one sign: on different sides
    p0_beside_q, p1_beside_q = _cross(p0 - q0, q1 - q0), _cross(q1 - q0, p1 - q0)
    crosses = (q0_beside_p * q1_beside_p > 0) & (p0_beside_q * p1_beside_q > 0)
    share, other_share = q0_beside_p[..., None], q1_beside_p[..., None]
    crossing = (other_share * q0 + share * q1) / (other_share + share)
    return crossing.flatten(1, 2), crosses.flatten(1)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def axis_aligned_bev_iou(boxes: Tensor) -> Tensor:
    """(N, 7) boxes to (N, N) overlap in bird's-eye view as if every yaw were 0."""
    low, high = boxes[:, :2] - boxes[:, 3:5] / 2, boxes[:, :2] + boxes[:, 3:5] / 2
    sides = (torch.minimum(high[:, None], high) - torch.maximum(low[:, None], low)).clamp_(min=0)
    shared, area = sides.prod(2), boxes[:, 3] * boxes[:, 4]
    return shared / (area[:, None] + area - shared).clamp(min=1e-8)


def greedy_nms(iou: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Boxes that no kept box of a higher score overlaps by more than a threshold.

    Args:
        iou (Tensor): (N, N) float, a row for the box of the higher score.
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


def nms3d(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression of rotated boxes seen from above; see :func:`boxes_overlap_bev`.

    Args:
        boxes (Tensor): (N, 7) float.
        scores (Tensor): (N,) float.
        iou_threshold (float): See :func:`greedy_nms`.

    Returns:
        Tensor: (K,) int64, highest score first.
    """
    shared, area = boxes_overlap_bev(boxes, boxes), boxes[:, 3] * boxes[:, 4]
    return greedy_nms(shared / (area[:, None] + area - shared).clamp(min=1e-8), scores, iou_threshold)


def nms3d_normal(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression of boxes seen from above as if every yaw were 0.

    Args:
        boxes (Tensor): (N, 7) float.
        scores (Tensor): (N,) float.
        iou_threshold (float): See :func:`greedy_nms`.

    Returns:
        Tensor: (K,) int64, highest score first.
    """
    return greedy_nms(axis_aligned_bev_iou(boxes), scores, iou_threshold)
