import hashlib

import torch
from torch import nn


def state_dict_hash(module: nn.Module) -> str:
    """SHA-256 over a module's state dict: every parameter and buffer, to the last bit.

    Args:
        module (nn.Module): On any device; the device does not count.

    Returns:
        str: Hexadecimal digest of names (sorted), types, shapes and bytes.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        # As bytes, because numpy has no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
