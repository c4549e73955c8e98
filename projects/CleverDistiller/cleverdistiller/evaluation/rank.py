"""How many dimensions a feature matrix really uses, without labels."""

import torch
from torch import Tensor


def rankme(features: Tensor, epsilon: float = 1e-7) -> float:
    """RankMe (arXiv 2210.02885): exp of the entropy of the normalised singular values.

    p_k = s_k / sum(s) + epsilon; RankMe = exp(-sum p_k ln p_k). Between 1 and C. Not centred, as the original.

    Args:
        features (Tensor): (N, C).
        epsilon (float): As in the paper.

    Returns:
        float: Effective rank.
    """
    singular = torch.linalg.svdvals(features.double())
    share = singular / singular.sum().clamp(min=torch.finfo(torch.float64).tiny) + epsilon
    return float(torch.exp(-(share * share.log()).sum()))


def matrix_rank(features: Tensor) -> int:
    """Numerical rank in float32 with torch's default tolerance, max(N, C) eps s_max. It depends on N: state it.

    Args:
        features (Tensor): (N, C).

    Returns:
        int: Rank.
    """
    return int(torch.linalg.matrix_rank(features.float()))
