"""The mathematics of the losses, without state."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor

from cleverdistiller.ops.voxelize import count_rows


def global_mean(total: Tensor, count: int | Tensor) -> Tensor:
    """``total / count`` as if all ranks were one process; 0 with a live gradient where nothing is counted.

    DDP averages gradients over ranks, so the denominator is the mean count of the ranks.

    Args:
        total (Tensor): () sum over this rank.
        count (int | Tensor): Terms in it.

    Returns:
        Tensor: ().
    """
    if not isinstance(count, Tensor):
        count = torch.full((), count, device=total.device)  # not a copy, for which the host would wait
    mean_count = count.to(torch.float32, copy=True)
    all_reduce(mean_count, 'mean')
    return total / mean_count.clamp(min=1e-6)  # 0 / 1e-6 = 0: no term anywhere


def l2_distance(projected: Tensor, target: Tensor) -> Tensor:
    """|a - b|_2 of the unit vectors, un-squared = sqrt(2 - 2 cos) (Eq. 1 of the paper, as ScaLR). (P, D) -> (P,)."""
    # vector_norm has a zero subgradient at equality, where a hand-made sqrt gives NaN.
    return torch.linalg.vector_norm(_unit(projected) - _unit(target), dim=1)


def cosine_distance(projected: Tensor, target: Tensor) -> Tensor:
    """1 - cos = |a - b|^2 / 2 of the unit vectors. (P, D) -> (P,)."""
    return 1 - (_unit(projected) * _unit(target)).sum(1)


def mse_distance(projected: Tensor, target: Tensor) -> Tensor:
    """Elementwise mean of (a - b)^2 of the unit vectors = 2 (1 - cos) / D. (P, D) -> (P,)."""
    return ((_unit(projected) - _unit(target)) ** 2).mean(1)


def mean_over_views(distance: Tensor, image_index: Tensor, num_images: int) -> Tensor:
    """Mean over each camera image's pairs, then over the images that have any.

    Args:
        distance (Tensor): (P,) one a pair.
        image_index (Tensor): (P,) int64.
        num_images (int): V.

    Returns:
        Tensor: (), 0 where there is no pair.
    """
    pairs_in_view = count_rows(image_index, num_images)  # (V,)
    total = (distance / pairs_in_view[image_index]).sum()
    return global_mean(total, (pairs_in_view > 0).sum())


def info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of each query's own key among all keys.

    Args:
        queries (Tensor): (K, E).
        keys (Tensor): (K, E), row i belongs to query i.
        temperature (float): Divides the inner products.

    Returns:
        Tensor: (), mean over the queries; 0 for one row (it is certain) and for none.
    """
    logits = queries @ keys.T / temperature  # (K, K)
    own = torch.arange(len(queries), device=queries.device)
    return global_mean(F.cross_entropy(logits, own, reduction='sum'), len(queries))


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.float(), dim=1)
