"""How features are kept on the disk: as float16, as bytes with a scale for each token, or as principal components."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cleverdistiller.errors import InputError

FORMS = ('fp16', 'int8', 'pca')
CLASS_TOKEN = 'class_token'  # always float16: one vector an image


def encode(features: Mapping[str, Tensor], form: str, basis: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Features as they are kept.

    Args:
        features (Mapping[str, Tensor]): (n, D, h, w) float each, and ``class_token`` (n, D).
        form (str): One of ``FORMS``.
        basis (Mapping[str, Tensor]): Of :func:`fit_basis`, for ``pca``.

    Returns:
        dict[str, Tensor]: The same names. ``int8`` adds ``NAME.scale`` (n, 1, h, w) float32.

    Raises:
        InputError: If a feature is not finite or beyond float16.
    """
    kept = {}
    for name, values in features.items():
        half = values.half()
        if not half.isfinite().all():
            raise InputError(
                f'{name} of the teacher up to {float(values.abs().max()):.3g}',
                f'finite features up to {torch.finfo(torch.float16).max:.0f}, as float16 has them',
                'set model.teacher.features=post_norm, whose features are small',
            )
        if form == 'fp16' or name == CLASS_TOKEN:
            kept[name] = half
        elif form == 'int8':
            kept[name], kept[f'{name}.scale'] = quantise(values.float())
        else:
            centred = values.float() - basis[f'{name}.mean'][:, None, None].to(values.device)
            kept[name] = torch.einsum('kd,ndhw->nkhw', basis[f'{name}.basis'].to(values.device), centred).half()
    return {name: values.cpu().contiguous() for name, values in kept.items()}


def decode(kept: Mapping[str, Tensor], form: str, basis: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What :func:`encode` kept of one image, as features again.

    Args:
        kept (Mapping[str, Tensor]): Without the axis of images.
        form (str): One of ``FORMS``.
        basis (Mapping[str, Tensor]): As of :func:`encode`.

    Returns:
        dict[str, Tensor]: (D, h, w) and (D,) float16.
    """
    found = {}
    for name, values in kept.items():
        if name.endswith('.scale'):
            continue
        if form == 'fp16' or name == CLASS_TOKEN:
            found[name] = values
        elif form == 'int8':
            found[name] = (values * kept[f'{name}.scale']).half()
        else:
            restored = torch.einsum('kd,khw->dhw', basis[f'{name}.basis'], values.float())
            found[name] = (restored + basis[f'{name}.mean'][:, None, None]).half()
    return found


def quantise(values: Tensor) -> tuple[Tensor, Tensor]:
    """Each token in 255 steps between minus and plus its largest channel.

    Args:
        values (Tensor): (n, D, h, w) float32.

    Returns:
        tuple[Tensor, Tensor]: (n, D, h, w) int8 and (n, 1, h, w) float32; their product is about ``values``.
    """
    step = values.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
    return (values / step).round().to(torch.int8), step


def fit_basis(features: Mapping[str, Tensor], components: int) -> dict[str, Tensor]:
    """Principal components of tokens.

    Args:
        features (Mapping[str, Tensor]): (n, D, h, w) each; a class token is left out.
        components (int): k.

    Returns:
        dict[str, Tensor]: ``NAME.mean`` (D,) and ``NAME.basis`` (k, D) float32, rows orthonormal, largest first.

    Raises:
        InputError: If k is not in 1..D.
    """
    found = {}
    for name, values in features.items():
        if name == CLASS_TOKEN:
            continue
        tokens = values.double().cpu().transpose(0, 1).flatten(1)  # (D, n h w)
        if not 0 < components <= len(tokens):
            raise InputError(f'--components {components}', f'1 to {len(tokens)}, the width of {name}', 'choose fewer')
        mean = tokens.mean(1)
        _, vectors = torch.linalg.eigh((tokens - mean[:, None]) @ (tokens - mean[:, None]).T)  # ascending
        basis = vectors.T.flip(0)[:components]
        found.update({f'{name}.mean': mean.float(), f'{name}.basis': basis.float().contiguous()})
    return found


def relative_error(found: Tensor, said: Tensor) -> float:
    """Mean of |found - said| / |said| over tokens, (n, D, ...) each."""
    found, said = found.double(), said.double()
    return float(((found - said).norm(dim=1) / said.norm(dim=1).clamp(min=1e-12)).mean())
