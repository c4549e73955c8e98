"""mmcv's CUDA point operators in plain torch, for any device: sampling, grouping, interpolation.

Each follows its kernel's rule for ties, order, padding and empty cases, so that a detector trained on one
device can be tested on the other; the one exception is :func:`knn`. A GPU may fuse multiply and add, so near-ties
can fall the other way there. Costs at PointRCNN's sizes: benchmarks/point_ops.py. Operators on boxes:
:mod:`point_box_ops`.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from cleverdistiller.errors import InputError

# Pairs compared in one step. 2^18 float32 are 1 MiB, which stays in a core's cache: 2^22 is 1.6 times slower
# and whole batches 3 times, by memory traffic alone.
PAIRS_AT_ONCE = 2**18


def furthest_point_sample(points_xyz: Tensor, num_points: int) -> Tensor:
    """Furthest point sampling: each next point is the one furthest from all points chosen so far.

    Starts at point 0. Equal distances go to the point whose thread wins the kernel's tree reduction, see
    :func:`_reduction_order`. Once every place is taken, 0 repeats.

    Args:
        points_xyz (Tensor): (B, N, 3) float.
        num_points (int): m, points to choose.

    Returns:
        Tensor: (B, m) int32.

    Raises:
        InputError: If there is no point to start from.
    """
    order = _reduction_order(points_xyz.shape[1], points_xyz.device)
    columns = points_xyz.detach()[:, order].permute(2, 0, 1).contiguous()  # (3, B, N)
    rows = torch.arange(len(points_xyz), device=points_xyz.device)
    delta = torch.empty_like(columns)

    def squared_distance(chosen: Tensor) -> Tensor:
        torch.sub(columns, columns[:, rows, chosen, None], out=delta)
        delta.mul_(delta)
        return delta[0].add_(delta[1]).add_(delta[2])

    return _sample_furthest(squared_distance, order, columns[0], num_points)


def furthest_point_sample_with_dist(points_dist: Tensor, num_points: int) -> Tensor:
    """Furthest point sampling on given distances, as 3DSSD's feature sampling.

    Args:
        points_dist (Tensor): (B, N, N) float, distance of each pair.
        num_points (int): m, points to choose.

    Returns:
        Tensor: (B, m) int32; starts and ties as :func:`furthest_point_sample`.

    Raises:
        InputError: If there is no point to start from.
    """
    order = _reduction_order(points_dist.shape[1], points_dist.device)
    points_dist = points_dist.detach()
    rows = torch.arange(len(points_dist), device=points_dist.device)
    return _sample_furthest(
        lambda chosen: points_dist[rows, order[chosen]][:, order], order, points_dist[:, 0], num_points
    )


def _sample_furthest(distance_to: Callable[[Tensor], Tensor], order: Tensor, like: Tensor, num_points: int) -> Tensor:
    nearest = torch.full_like(like, 1e10)  # (B, N) distance to the chosen set, the kernel's start
    chosen = torch.zeros(len(like), num_points, dtype=torch.long, device=like.device)
    for step in range(1, num_points):
        torch.minimum(nearest, distance_to(chosen[:, step - 1]), out=nearest)
        torch.argmax(nearest, 1, out=chosen[:, step])  # the first of equal ones, hence the order
    return order[chosen].int()


def _reduction_order(num_points: int, device: torch.device) -> Tensor:
    """Points in the order in which the CUDA kernel prefers them at equal distance.

    A block of T = min(2^floor(log2 N), 1024) threads strides over the points, each keeping its first
    maximum; a tree reduction then halves the block, keeping the lower thread at ties. So thread k mod T
    with the smallest bit-reversed number wins, then the smallest k.
    """
    if num_points < 1:
        raise InputError('no point', 'at least one point in each cloud', 'drop empty clouds before sampling')
    bits = min(num_points.bit_length() - 1, 10)
    index = torch.arange(num_points, device=device)
    thread = index % 2**bits
    reversed_thread = torch.zeros_like(index)
    for bit in range(bits):
        reversed_thread = 2 * reversed_thread + ((thread >> bit) & 1)
    return torch.argsort(reversed_thread, stable=True)


def gather_points(features: Tensor, indices: Tensor) -> Tensor:
    """Features of chosen points; the gradient adds up where a point is chosen more than once.

    Args:
        features (Tensor): (B, C, N).
        indices (Tensor): (B, m) int.

    Returns:
        Tensor: (B, C, m).
    """
    # A gather by an index of stride 0: copying rows of a (B, N, C) table instead took 9 times as long.
    index = indices.long()[:, None].expand(-1, features.shape[1], -1)
    return _HalfGather.apply(features, index) if features.dtype == torch.half else features.gather(2, index)


class _HalfGather(torch.autograd.Function):
    """A gather whose gradient is rounded to float16 after each term, as by the kernel: torch rounds the sum alone."""

    @staticmethod
    def forward(ctx, features: Tensor, index: Tensor) -> Tensor:
        """(B, C, N) and (B, C, m) to (B, C, m)."""
        ctx.save_for_backward(index)
        ctx.shape = features.shape
        return features.gather(2, index)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        """(B, C, m) to (B, C, N)."""
        (index,) = ctx.saved_tensors
        rows = torch.arange(ctx.shape.numel(), device=index.device).view(ctx.shape)[..., :1] + index
        table = gradient.new_zeros(ctx.shape.numel())
        return table.index_add_(0, rows.flatten(), gradient.flatten()).view(ctx.shape), None


def grouping_operation(features: Tensor, indices: Tensor) -> Tensor:
    """Features of groups of points; the gradient adds up over groups.

    Args:
        features (Tensor): (B, C, N).
        indices (Tensor): (B, m, s) int.

    Returns:
        Tensor: (B, C, m, s).
    """
    return gather_points(features, indices.flatten(1)).unflatten(2, indices.shape[1:])


def stacked_grouping_operation(
    features: Tensor, indices: Tensor, features_batch_cnt: Tensor, indices_batch_cnt: Tensor
) -> Tensor:
    """Features of groups of points in clouds of unequal size, stacked; the gradient adds up over groups.

    An index that is none of its own cloud's points gives zeros and gets no gradient: mmcv's kernel gives zeros to most
    of them, but reads and writes beyond its tensors for others.

    Args:
        features (Tensor): (N1 + N2 + ..., C).
        indices (Tensor): (M1 + M2 + ..., s) int, each counted from the first point of its own cloud.
        features_batch_cnt (Tensor): (B,) int, N1, N2, ...
        indices_batch_cnt (Tensor): (B,) int, M1, M2, ...

    Returns:
        Tensor: (M1 + M2 + ..., C, s).

    Raises:
        InputError: If the counts do not add up to the points.
    """
    _check_counts(features_batch_cnt, features, 'features_batch_cnt')
    _check_counts(indices_batch_cnt, indices, 'indices_batch_cnt')
    sizes, rows_of = features_batch_cnt.long(), indices_batch_cnt.long()
    size = sizes.repeat_interleave(rows_of)[:, None]  # (M, 1) points of each row's cloud
    start = (sizes.cumsum(0) - sizes).repeat_interleave(rows_of)[:, None]
    outside = (indices < 0) | (indices >= size)
    table = torch.cat([features, features.new_zeros(1, features.shape[1])])  # one more, for indices outside
    return table[torch.where(outside, len(features), start + indices)].transpose(1, 2).contiguous()


def ball_query(min_radius: float, max_radius: float, sample_num: int, xyz: Tensor, center_xyz: Tensor) -> Tensor:
    """First points, in index order, in a shell around each centre.

    Inside is ``min_radius^2 <= d^2 < max_radius^2`` or d = 0. Free slots repeat the first point found; a
    centre without any gets zeros.

    Args:
        min_radius (float): Inner radius in metres, closed.
        max_radius (float): Outer radius in metres, open.
        sample_num (int): s, most points of a centre.
        xyz (Tensor): (B, N, 3) float.
        center_xyz (Tensor): (B, m, 3) float.

    Returns:
        Tensor: (B, m, s) int32.
    """
    return _ball_query(min_radius, max_radius, sample_num, xyz, center_xyz)[0]


def stacked_ball_query(
    max_radius: float,
    sample_num: int,
    xyz: Tensor,
    center_xyz: Tensor,
    xyz_batch_cnt: Tensor,
    center_xyz_batch_cnt: Tensor,
) -> Tensor:
    """First points, in index order, in a ball around each centre, in clouds of unequal size, stacked.

    Args:
        max_radius (float): Radius in metres, open.
        sample_num (int): s, most points of a centre.
        xyz (Tensor): (N1 + N2 + ..., 3) float.
        center_xyz (Tensor): (M1 + M2 + ..., 3) float.
        xyz_batch_cnt (Tensor): (B,) int, N1, N2, ...
        center_xyz_batch_cnt (Tensor): (B,) int, M1, M2, ...

    Returns:
        Tensor: (M1 + M2 + ..., s) int32, counted from the first point of the own cloud; free slots repeat the first
        point found. A centre without any gets -1, then zeros.

    Raises:
        InputError: If the counts do not add up to the points.
    """
    _check_counts(xyz_batch_cnt, xyz, 'xyz_batch_cnt')
    _check_counts(center_xyz_batch_cnt, center_xyz, 'center_xyz_batch_cnt')
    clouds = zip(xyz.split(xyz_batch_cnt.tolist()), center_xyz.split(center_xyz_batch_cnt.tolist()), strict=True)
    found = []
    for points, centres in clouds:
        indices, count = _ball_query(0, max_radius, sample_num, points[None], centres[None])
        indices[0, count[0] == 0, :1] = -1
        found.append(indices[0])
    return torch.cat(found)


def _ball_query(
    min_radius: float, max_radius: float, sample_num: int, xyz: Tensor, center_xyz: Tensor
) -> tuple[Tensor, Tensor]:
    """(B, m, s) int32 as :func:`ball_query`, and (B, m) int64, how many of them are points found."""
    num_batch, num_centres = center_xyz.shape[:2]
    # The kernel squares its radii in float32: 0.1 squared there is one ulp above the float32 of 0.01.
    min_squared, max_squared = torch.tensor([min_radius, max_radius], dtype=torch.float32).square().tolist()
    indices = torch.zeros(num_batch, num_centres, sample_num, dtype=torch.int32, device=xyz.device)
    counts = torch.zeros(num_batch, num_centres, dtype=torch.long, device=xyz.device)
    for clouds, some in blocks(num_batch, num_centres, xyz.shape[1]):
        squared = _squared_distances(center_xyz[clouds, some], xyz[clouds])
        if squared.dtype == torch.half:  # summed in float16, compared in float32
            squared = squared.float()
        inside = squared < max_squared
        if min_squared > 0:
            inside &= (squared >= min_squared) | (squared == 0)
        hits, counts[clouds, some] = first_hits(inside, sample_num)
        slot = torch.arange(sample_num, device=xyz.device)
        indices[clouds, some] = hits.gather(2, torch.where(slot < counts[clouds, some, None], slot, 0)).int()
    return indices, counts


def _check_counts(counts: Tensor, rows: Tensor, name: str) -> None:
    if int(counts.sum()) != len(rows):
        raise InputError(
            f'{name}={counts.tolist()} for {len(rows)} rows', f'numbers that add up to {len(rows)}', 'count each cloud'
        )


def knn(k: int, xyz: Tensor, center_xyz: Tensor | None = None, transposed: bool = False) -> Tensor:
    """Nearest points of each centre, nearest first.

    Of points at the same distance, the smaller index comes first; mmcv's kernel takes them as its heap stands.

    Args:
        k (int): Points of a centre, 1 to 99.
        xyz (Tensor): (B, N, 3) float, (B, 3, N) if transposed.
        center_xyz (Tensor | None): (B, m, 3) float, (B, 3, m) if transposed; None takes ``xyz``.
        transposed (bool): Whether coordinates come before points.

    Returns:
        Tensor: (B, k, m) int32. Slots past the last point within 100 km are 0.

    Raises:
        InputError: If k is out of the kernel's range.
    """
    if not 0 < k < 100:
        raise InputError(f'knn with k={k}', '1 to 99, as the kernel', 'ask for fewer neighbours')
    center_xyz = xyz if center_xyz is None else center_xyz
    if transposed:
        xyz, center_xyz = xyz.transpose(1, 2), center_xyz.transpose(1, 2)
    found = torch.zeros(*center_xyz.shape[:2], k, dtype=torch.int32, device=xyz.device)
    if xyz.shape[1]:
        for clouds, some in blocks(*found.shape[:2], xyz.shape[1]):
            squared = _squared_distances(center_xyz[clouds, some], xyz[clouds]).float()
            # The kernel's start. Where nothing is left, the first of the infinite ones is point 0.
            squared = squared.masked_fill_(~(squared < 1e10), torch.inf)
            found[clouds, some] = _nearest(squared, k)[1]
    return found.transpose(1, 2).contiguous()


def three_nn(target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """Three nearest source points of each target point, nearest first, the smaller index first at ties.

    Args:
        target (Tensor): (B, n, 3) float.
        source (Tensor): (B, M, 3) float. With M < 3 the missing ones are index 0 at an infinite distance.

    Returns:
        tuple[Tensor, Tensor]: (B, n, 3) distance in metres without a gradient, (B, n, 3) int32 index.

    Raises:
        InputError: If there is no source point.
    """
    if source.shape[1] < 1:
        raise InputError('no source point', 'at least one', 'drop empty clouds before interpolating')
    squared = torch.empty_like(target)
    indices = torch.empty_like(target, dtype=torch.int32)
    for clouds, some in blocks(*target.shape[:2], source.shape[1]):
        pairs = _squared_distances(target[clouds, some], source[clouds])
        squared[clouds, some], indices[clouds, some] = _nearest(pairs, 3)
    return squared.sqrt_(), indices


def three_interpolate(features: Tensor, indices: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of three points' features. As in mmcv, the weight gets no gradient.

    Args:
        features (Tensor): (B, C, M).
        indices (Tensor): (B, n, 3) int.
        weight (Tensor): (B, n, 3) float.

    Returns:
        Tensor: (B, C, n).
    """
    weight = weight.detach()
    terms = [gather_points(features, indices[..., rank]) * weight[:, None, :, rank] for rank in range(3)]
    return terms[0] + terms[1] + terms[2]


def blocks(num_batch: int, num_rows: int, row_size: int) -> Iterator[tuple[slice, slice]]:
    """Slices of a (B, rows, row_size) comparison that hold about :data:`PAIRS_AT_ONCE` pairs each."""
    rows = min(max(PAIRS_AT_ONCE // max(row_size, 1), 1), max(num_rows, 1))
    batch = max(PAIRS_AT_ONCE // max(rows * row_size, 1), 1) if rows == num_rows else 1
    for first_batch in range(0, num_batch, batch):
        for first_row in range(0, num_rows, rows):
            yield slice(first_batch, first_batch + batch), slice(first_row, first_row + rows)


def _nearest(squared: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(B, m, n) to (B, m, count) and their int32 columns, smallest first; overwrites what it found."""
    values, columns = [], []
    for _ in range(count):  # min returns the first of equal ones, which topk does not promise
        value, column = squared.min(2, keepdim=True)
        squared.scatter_(2, column, torch.inf)
        values.append(value)
        columns.append(column.int())
    return torch.cat(values, 2), torch.cat(columns, 2)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(B, m, 3) and (B, n, 3) to (B, m, n), summed in the kernels' order; no gradient."""
    a, b = a.detach(), b.detach().transpose(1, 2).contiguous()
    total = None
    for axis in range(3):
        delta = a[..., axis, None] - b[:, axis, None]
        delta *= delta  # a square would be a power, which float16 has not on a CPU
        total = delta if total is None else total.add_(delta)
    return total


def first_hits(inside: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """Where the first true values of each row stand.

    Args:
        inside (Tensor): (B, m, n) bool.
        limit (int): s, most hits to return.

    Returns:
        tuple[Tensor, Tensor]: (B, m, s) int64 columns in order, of which the first ``count`` are valid (rows
        without any are all 0); (B, m) int64 count, at most s.
    """
    num_batch, num_rows = inside.shape[:2]
    row, column = inside.flatten(0, 1).nonzero().unbind(1)
    total = torch.bincount(row, minlength=num_batch * num_rows)
    slots = (total.cumsum(0) - total)[:, None] + torch.arange(limit, device=inside.device)
    column = torch.cat([column, column.new_zeros(1)])  # one more, for slots past the last hit
    hits = column[slots.clamp_(max=len(column) - 1)].masked_fill_(total[:, None] == 0, 0)
    return hits.unflatten(0, (num_batch, num_rows)), total.clamp(max=limit).view(num_batch, num_rows)
