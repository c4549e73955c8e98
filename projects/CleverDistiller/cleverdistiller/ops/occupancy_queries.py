"""ALSO's self-supervision: where a laser passed is empty, just behind its echo is filled."""

import torch
from torch import Tensor


def sample_queries(
    points_lidar: Tensor, intensity: Tensor, num_queries: int, shell: float = 0.1
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw query positions around random points p, with d = p / |p| and r ~ U(0, 1) per point.

    One third each, from independent permutations of the points (ALSO, arXiv 2212.05867):

    - front: p - shell r d, empty, with p's intensity;
    - sight: r p, empty, no intensity;
    - behind: p + shell r d, filled, with p's intensity (takes the remainder of the thirds).

    Args:
        points_lidar (Tensor): (N, 3) float32, metres, the sensor at the origin.
        intensity (Tensor): (N,) float32 in 0..1.
        num_queries (int): Queries wanted; fewer where the cloud has fewer points than a third asks.
        shell (float): Thickness of the shell around the surface, metres.

    Returns:
        tuple[Tensor, Tensor, Tensor, Tensor]: ``position_m`` (Q, 3), ``occupied`` (Q,) in {0, 1},
        ``intensity`` (Q,) with -1 for sight, ``anchor`` (Q,) int64, the point each query was made from.
    """
    count, device = len(points_lidar), points_lidar.device
    third = num_queries // 3
    sizes = [min(size, count) for size in (third, third, num_queries - 2 * third)]
    anchors = [torch.randperm(count, device=device)[:size] for size in sizes]
    positions = []
    for sign, anchor in zip((-1.0, 0.0, 1.0), anchors):
        p = points_lidar[anchor]
        r = torch.rand(len(anchor), 1, device=device, dtype=p.dtype)
        direction = p / p.norm(dim=1, keepdim=True).clamp(min=1e-6)
        positions.append(r * p if sign == 0 else p + sign * shell * r * direction)
    front, sight, behind = anchors
    occupied = torch.cat([torch.zeros(len(front) + len(sight)), torch.ones(len(behind))]).to(points_lidar)
    target = torch.cat([intensity[front], torch.full_like(intensity[sight], -1.0), intensity[behind]])
    return torch.cat(positions), occupied, target, torch.cat(anchors)


def radius_pairs(
    queries_m: Tensor, points_m: Tensor, radius_m: float, max_points: int | None = None
) -> tuple[Tensor, Tensor]:
    """All (query, point) pairs at most ``radius_m`` apart, optionally a random subset for each query.

    Points are sorted into cells of one radius, so a query meets only the points of its 27 neighbours.

    Args:
        queries_m (Tensor): (Q, 3) float32.
        points_m (Tensor): (N, 3) float32.
        radius_m (float): Metres.
        max_points (int | None): Keep at most so many points a query, drawn uniformly; None keeps all.

    Returns:
        tuple[Tensor, Tensor]: ``query_index`` and ``point_index``, both (S,) int64, sorted by query.
    """
    device = queries_m.device
    origin = torch.cat([queries_m, points_m]).amin(0) - 2 * radius_m
    query_cells = torch.floor((queries_m - origin) / radius_m).long()
    point_cells = torch.floor((points_m - origin) / radius_m).long()
    extent = torch.cat([query_cells, point_cells]).amax(0) + 2

    def linear(cells: Tensor) -> Tensor:
        return (cells[..., 0] * extent[1] + cells[..., 1]) * extent[2] + cells[..., 2]

    point_key, point_order = linear(point_cells).sort()
    # The three cells of a column are neighbours in the sorted order: 9 ranges a query, not 27.
    steps = torch.cartesian_prod(torch.arange(-1, 2), torch.arange(-1, 2)).to(device)
    columns = query_cells[:, None].expand(-1, 9, -1).clone()
    columns[..., :2] += steps
    low = columns.clone()
    low[..., 2] -= 1
    first = torch.searchsorted(point_key, linear(low).flatten())
    last = torch.searchsorted(point_key, linear(columns).flatten() + 1, right=True)
    length = last - first
    query_index = torch.arange(len(queries_m), device=device).repeat_interleave(9).repeat_interleave(length)
    start_of_range = (first - (length.cumsum(0) - length)).repeat_interleave(length)
    point_index = point_order[torch.arange(len(query_index), device=device) + start_of_range]
    # Coordinate by coordinate: two gathers of (S, 3) rows cost three times as much.
    squared = sum((queries_m[:, i][query_index] - points_m[:, i][point_index]) ** 2 for i in range(3))
    near = squared <= radius_m**2
    query_index, point_index = query_index[near], point_index[near]
    if max_points is None:
        return query_index, point_index

    # Thin out first: a permutation of all pairs (2,000 a query near the sensor) took half of the time.
    count = torch.bincount(query_index, minlength=len(queries_m))
    ample = 2 * max_points + 16  # six standard deviations above max_points
    thin = torch.rand(len(query_index), device=device) * count[query_index] < ample
    query_index, point_index = query_index[thin], point_index[thin]
    shuffled = torch.randperm(len(query_index), device=device)
    shuffled = shuffled[query_index[shuffled].sort(stable=True).indices]
    query_index, point_index = query_index[shuffled], point_index[shuffled]
    count = torch.bincount(query_index, minlength=len(queries_m))
    rank = torch.arange(len(query_index), device=device) - (count.cumsum(0) - count)[query_index]
    keep = rank < max_points
    return query_index[keep], point_index[keep]
