"""One number for all weights of a module."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def state_dict_hash(module: nn.Module) -> str:
    """SHA-256 over a module's state dict: every parameter and buffer, to the last bit.

    Args:
        module (nn.Module): On any device; the device does not count.

    Returns:
        str: See :func:`tensors_hash`.
    """
    return tensors_hash(module.state_dict())


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over named tensors.

    Args:
        tensors (Mapping[str, Tensor]): On any device; the device does not count.

    Returns:
        str: Hexadecimal digest of names (sorted), types, shapes and bytes.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        # As bytes, because numpy has no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
