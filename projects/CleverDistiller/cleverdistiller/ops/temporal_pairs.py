"""Points of two sweeps that lie on the same thing: no flow, no tracking, only poses and nearness. On the CPU."""

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor


def mutual_nearest_pairs(a: Tensor, b: Tensor, max_distance_m: float) -> Tensor:
    """Pairs of points that are each other's nearest, closer than ``max_distance_m``.

    Args:
        a (Tensor): (N, 3) metres.
        b (Tensor): (K, 3) metres, in the same frame.
        max_distance_m (float): Pairs so far apart or farther are left out.

    Returns:
        Tensor: (P, 2) int64 rows of ``a`` and of ``b``, sorted by the first; no row is in two pairs.
    """
    a, b = a.double().numpy(), b.double().numpy()
    # A point without a neighbour in reach gets the row past the last.
    b_of_a = cKDTree(b).query(a, distance_upper_bound=max_distance_m)[1]  # (N,)
    a_of_b = cKDTree(a).query(b, distance_upper_bound=max_distance_m)[1]  # (K,)
    rows = np.flatnonzero(b_of_a < len(b))
    rows = rows[a_of_b[b_of_a[rows]] == rows]
    return torch.from_numpy(np.stack([rows, b_of_a[rows]], 1)).long()


def is_ground(points_lidar: Tensor, cell_m: float, height_m: float) -> Tensor:
    """Which points lie at most ``height_m`` above the lowest point of their column.

    A column is a square cell of the x-y plane. Where no ground was hit, the lowest part of whatever stands there
    counts as ground.

    Args:
        points_lidar (Tensor): (N, 3) metres, z up.
        cell_m (float): Edge of a cell.
        height_m (float): Above the lowest point.

    Returns:
        Tensor: (N,) bool.
    """
    cells = torch.floor(points_lidar[:, :2].double() / cell_m).long()  # (N, 2)
    columns, column = torch.unique(cells, dim=0, return_inverse=True)
    z = points_lidar[:, 2]
    lowest = z.new_full((len(columns),), torch.inf).scatter_reduce(0, column, z, 'amin')
    return z - lowest[column] <= height_m
