"""Exact overlaps of rotated boxes: clipped polygons, in float64 on whatever device the boxes are."""

import torch
from torch import Tensor

PAIRS_AT_ONCE = 1 << 17  # some 100 MiB of polygons


def bev_intersection(boxes: Tensor, others: Tensor) -> Tensor:
    """Area that boxes share in bird's-eye view.

    Each box of ``others`` is moved into the axes of its partner and clipped at the four sides (Sutherland-Hodgman).
    Sides are closed and every corner is found from the two ends of an edge, so identical, touching and nearly
    coinciding boxes cost no more than rounding. A box without extent shares nothing.

    Args:
        boxes (Tensor): (..., 5) centre x, y and size along and across the heading in metres, yaw in radians,
            counter-clockwise from x to y.
        others (Tensor): (..., 5), broadcast against ``boxes``: ``boxes[:, None], others`` compares all with all.

    Returns:
        Tensor: (...) float64, square metres.
    """
    boxes, others = torch.broadcast_tensors(boxes.double(), others.double())
    shape = boxes.shape[:-1]
    boxes, others = boxes.reshape(-1, 5), others.reshape(-1, 5)
    reach = (boxes[:, 2:4].norm(dim=1) + others[:, 2:4].norm(dim=1)) / 2
    near = torch.nonzero((boxes[:, :2] - others[:, :2]).norm(dim=1) < reach).squeeze(1)
    areas = boxes.new_zeros(len(boxes))
    for rows in near.split(PAIRS_AT_ONCE):
        areas[rows] = _clipped_area(boxes[rows], others[rows])
    return areas.reshape(shape)


def bev_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union in bird's-eye view.

    Args:
        boxes (Tensor): See :func:`bev_intersection`.
        others (Tensor): See :func:`bev_intersection`.

    Returns:
        Tensor: (...) float64; 0 where both boxes are without extent.
    """
    shared = bev_intersection(boxes, others)
    return _over_union(shared, boxes[..., 2:4].double().prod(-1), others[..., 2:4].double().prod(-1))


def iou_3d(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of upright boxes in space: area in bird's-eye view times shared height.

    Args:
        boxes (Tensor): (..., 7) x, y and z of the middle of the bottom, size along and across the heading and height
            in metres, yaw in radians, counter-clockwise from x to y.
        others (Tensor): (..., 7), broadcast against ``boxes``.

    Returns:
        Tensor: (...) float64; 0 where both boxes are without extent.
    """
    boxes, others = boxes.double(), others.double()
    top = torch.minimum(boxes[..., 2] + boxes[..., 5], others[..., 2] + others[..., 5])
    height = (top - torch.maximum(boxes[..., 2], others[..., 2])).clamp(min=0)
    flat = [0, 1, 3, 4, 6]
    shared = bev_intersection(boxes[..., flat], others[..., flat]) * height
    return _over_union(shared, boxes[..., 3:6].prod(-1), others[..., 3:6].prod(-1))


def _over_union(shared: Tensor, first: Tensor, second: Tensor) -> Tensor:
    union = first + second - shared
    return torch.where(union > 0, shared / union, 0)


def _clipped_area(boxes: Tensor, others: Tensor) -> Tensor:
    """(P, 5) and (P, 5) to (P,) square metres."""
    centre = _rotate((others[:, :2] - boxes[:, :2])[:, None], -boxes[:, 4])
    signs = boxes.new_tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])  # counter-clockwise
    polygon = centre + _rotate(signs * others[:, None, 2:4] / 2, others[:, 4] - boxes[:, 4])  # (P, 4, 2)
    for axis in (0, 1):
        half = boxes[:, None, 2 + axis] / 2
        for side in (1, -1):
            polygon = _clip(polygon, half - side * polygon[..., axis])
    spokes = polygon - polygon[:, :1]
    after = spokes.roll(-1, 1)
    return (spokes[..., 0] * after[..., 1] - spokes[..., 1] * after[..., 0]).sum(1).clamp(min=0) / 2


def _rotate(points: Tensor, yaw: Tensor) -> Tensor:
    """(P, V, 2) by (P,) radians, counter-clockwise."""
    cos, sin = yaw.cos()[:, None], yaw.sin()[:, None]
    x, y = points.unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], -1)


def _clip(polygon: Tensor, inside_m: Tensor) -> Tensor:
    """Cut convex polygons at a line.

    Args:
        polygon (Tensor): (P, V, 2) corners in turn, any of them repeated.
        inside_m (Tensor): (P, V) distance of each corner from the line, negative beyond it.

    Returns:
        Tensor: (P, V + 2, 2), filled up with the first corner; one point if nothing is left.
    """
    after, inside_after_m = polygon.roll(-1, 1), inside_m.roll(-1, 1)
    stays = inside_m >= 0
    crosses = stays != (inside_after_m >= 0)
    share = inside_m / torch.where(crosses, inside_m - inside_after_m, 1)
    crossing = polygon + share[..., None] * (after - polygon)
    # In turn: the start of each edge, where it stays, and the point where the edge crosses the line.
    points = torch.stack([polygon, crossing], 2).flatten(1, 2)
    kept = torch.stack([stays, crosses], 2).flatten(1)
    # A cut adds one corner at most; the second spare place is for corners that rounding puts on both sides in turn.
    order = torch.sort(kept.byte(), dim=1, descending=True, stable=True).indices[:, : polygon.shape[1] + 2]
    order = torch.where(kept.gather(1, order), order, order[:, :1])
    return points.gather(1, order[..., None].expand(-1, -1, 2))
