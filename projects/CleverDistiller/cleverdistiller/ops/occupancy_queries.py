"""ALSO's self-supervision: where a laser passed is empty, just behind its echo is filled."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cleverdistiller.ops.voxelize import voxelize

# With so many draws for each point wanted, nine in ten of a sweep's crowded queries find enough near ones.
DRAWS_PER_POINT = 8


def decimate(points: Tensor, cell_m: float) -> Tensor:
    """One point of each cell at random, cell = floor(xyz / size).

    Near the sensor a sweep is as dense as the beams, not as the surface. (ALSO truncates where this rounds down, which
    makes its cells at 0 twice as wide, and keeps a cell's first point.)

    Args:
        points (Tensor): (N, 3 + c) float32, metres and further channels.
        cell_m (float): Edge of a cell.

    Returns:
        Tensor: (K,) int64, rows of the points kept, in the order of their cells.
    """
    one_cloud = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    return voxelize(points, one_cloud, 1, cell_m, random_representative=True).representative


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

    Points are sorted into cells of one radius, so a query meets only the points of its 27 neighbours. With
    ``max_points``, a query that has many of them looks at some, drawn at random, until enough are near: which ones are
    kept is as likely as if all had been looked at (benchmarks/occupancy_support.py).

    Args:
        queries_m (Tensor): (Q, 3) float32.
        points_m (Tensor): (N, 3) float32.
        radius_m (float): Metres.
        max_points (int | None): Keep at most so many points a query, drawn uniformly; None keeps all.

    Returns:
        tuple[Tensor, Tensor]: ``query_index`` and ``point_index``, both (S,) int64, sorted by query.
    """
    order, first, length = _columns_around(queries_m, points_m, radius_m)
    search = _Search(queries_m, points_m[order], radius_m, first, length)
    if max_points is None:
        query, row = search.all_near(torch.arange(len(queries_m), device=queries_m.device))
        return query, order[row]

    # Looking at all takes 5.5 million distances on a nuScenes sweep, for near the sensor a metre holds thousands.
    many = length.sum(1) > 2 * DRAWS_PER_POINT * max_points
    query, row = _first_rows(*search.draw_near(many.nonzero()[:, 0], DRAWS_PER_POINT * max_points), max_points)
    # Whether a query found enough says nothing about which of its points it found: asking again leaves no bias.
    enough = torch.bincount(query, minlength=len(queries_m)) == max_points
    found = enough[query]
    rest_query, rest_row = search.all_near((~enough).nonzero()[:, 0])
    noise = torch.rand(len(rest_query), dtype=torch.float64, device=queries_m.device)
    shuffled = (rest_query + noise / 2).argsort()
    rest_query, rest_row = _first_rows(rest_query[shuffled], rest_row[shuffled], max_points)
    query, row = torch.cat([query[found], rest_query]), torch.cat([row[found], rest_row])
    query, sorting = query.sort(stable=True)
    return query, order[row[sorting]]


def _columns_around(queries_m: Tensor, points_m: Tensor, radius_m: float) -> tuple[Tensor, Tensor, Tensor]:
    """Sort points by cell: their order (N,), and for each query 9 ranges in it, ``first`` and ``length`` (Q, 9)."""
    origin = torch.cat([queries_m, points_m]).amin(0) - 2 * radius_m
    query_cells = torch.floor((queries_m - origin) / radius_m).long()
    point_cells = torch.floor((points_m - origin) / radius_m).long()
    extent = torch.cat([query_cells, point_cells]).amax(0) + 2

    def linear(cells: Tensor) -> Tensor:
        return (cells[..., 0] * extent[1] + cells[..., 1]) * extent[2] + cells[..., 2]

    point_key, order = linear(point_cells).sort()
    # The three cells of a column are neighbours in the sorted order: 9 ranges a query, not 27.
    steps = torch.cartesian_prod(torch.arange(-1, 2), torch.arange(-1, 2)).to(queries_m.device)
    columns = query_cells[:, None].expand(-1, 9, -1).clone()
    columns[..., :2] += steps
    middle = linear(columns)
    first = torch.searchsorted(point_key, middle - 1)
    return order, first, torch.searchsorted(point_key, middle + 1, right=True) - first


@dataclass(frozen=True)
class _Search:
    """Points in the order of their cells, and where in it each query's neighbours lie.

    Args:
        queries_m (Tensor): (Q, 3).
        points_m (Tensor): (N, 3), sorted.
        radius_m (float): Metres.
        first (Tensor): (Q, 9) int64, where each range begins.
        length (Tensor): (Q, 9) int64.
    """

    queries_m: Tensor
    points_m: Tensor
    radius_m: float
    first: Tensor
    length: Tensor

    def all_near(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Every (query, row of a point) of the queries (K,) named, sorted by query."""
        first, length = self.first[queries].flatten(), self.length[queries].flatten()
        query = queries.repeat_interleave(9).repeat_interleave(length)
        start_of_range = (first - (length.cumsum(0) - length)).repeat_interleave(length)
        row = torch.arange(len(query), device=queries.device) + start_of_range
        near = self._is_near(query, row)
        return query[near], row[near]

    def draw_near(self, queries: Tensor, draws: int) -> tuple[Tensor, Tensor]:
        """Distinct (query, row of a point) out of ``draws`` neighbours each, by query, then in the order drawn."""
        end = self.length[queries].cumsum(1)  # (K, 9)
        drawn = torch.randint(2**62, (len(queries), draws), device=queries.device) % end[:, -1:]
        column = torch.searchsorted(end, drawn, right=True)
        row = drawn + (self.first[queries] - end + self.length[queries]).gather(1, column)
        near = self._is_near(queries[:, None].expand_as(row), row)
        query, row = queries[near.nonzero()[:, 0]], row[near]
        ordered, by_pair = (query * len(self.points_m) + row).sort(stable=True)
        fresh = torch.ones_like(query, dtype=torch.bool)
        fresh[by_pair[1:]] = ordered[1:] != ordered[:-1]
        return query[fresh], row[fresh]

    def _is_near(self, query: Tensor, row: Tensor) -> Tensor:
        # Coordinate by coordinate: two gathers of whole rows cost three times as much.
        squared = sum((self.queries_m[:, i][query] - self.points_m[:, i][row]) ** 2 for i in range(3))
        return squared <= self.radius_m**2


def _first_rows(query: Tensor, row: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first ``count`` pairs of each query; pairs lie by query."""
    pairs_of = torch.bincount(query)
    rank = torch.arange(len(query), device=query.device) - (pairs_of.cumsum(0) - pairs_of)[query]
    return query[rank < count], row[rank < count]
