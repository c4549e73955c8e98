from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from mmdet3d.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cleverdistiller.errors import InputError
from cleverdistiller.models.students.sparse_student import SparseStudent
from cleverdistiller.ops.voxelize import gather_rows, parent_rows
from cleverdistiller.structures import VoxelGrid

BLOCKS = {14: (1, 1, 1, 1, 1, 1, 1, 1), 18: (2,) * 8, 34: (2, 3, 4, 6, 2, 2, 2, 2)}
PLANES = (32, 64, 128, 256, 256, 128, 96, 96)  # four encoder, four decoder stages at width 32


@dataclass(frozen=True)
class Variant:
    """What published MinkUNets of one name differ in.

    Args:
        stem_kernels (tuple[int, ...]): Kernel size of each stem convolution.
        down_widens (bool): Whether the strided convolution already has the stage's width.
        norm_eps (float): BatchNorm epsilon.
        norm_momentum (float): BatchNorm momentum.
        init_std (float | None): Truncated-normal start of the weights; None keeps the library's.
    """

    stem_kernels: tuple[int, ...]
    down_widens: bool
    norm_eps: float
    norm_momentum: float
    init_std: float | None


VARIANTS = {
    'pointcept': Variant((5,), True, 1e-3, 0.01, 0.02),
    'mmdet3d': Variant((3, 3), False, 1e-5, 0.1, None),
}


@MODELS.register_module()
class MinkUNetStudent(SparseStudent):
    """MinkUNet, the sparse residual U-Net of Choy et al. (arXiv 1904.08755), without classifier.

    Stem, four strided stages, four inverse-convolution stages with skips by concatenation, ReLU after each
    residual sum, so the 96 output channels are not negative. ``pointcept`` is Pointcept's SpUNet-v1m1
    (39.15 M parameters at depth 34), ``mmdet3d`` the one of mmdet3d and SuperFlow (37.87 M).

    Args:
        depth (int): 14, 18 or 34.
        width (int): Channels after the stem; all stages scale with it. 32 is the published size, 16 is for
            small runs.
        variant (str): ``pointcept`` or ``mmdet3d``.
        in_channels (int): 3 coordinates and further channels (1: intensity).
        backend (str): ``auto``, ``spconv`` or ``spconv_triton``.
        weights (str | None): An exported ``student.pth`` or ``student.safetensors`` to start from.
        checkpointing (bool): Keep only the input of each stage of residual blocks for the backward pass and run the
            stage again there: less memory, more time, the same numbers.

    Raises:
        InputError: If an option is unknown or the weights do not fit.
    """

    told_apart_by = 'depth, width, variant and in_channels'

    def __init__(
        self,
        depth: int = 34,
        width: int = 32,
        variant: str = 'pointcept',
        in_channels: int = 4,
        backend: str = 'auto',
        weights: str | None = None,
        checkpointing: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(backend, init_cfg)
        self.checkpointing = checkpointing
        for option, value, known in (('depth', depth, BLOCKS), ('variant', variant, VARIANTS)):
            if value not in known:
                raise InputError(f'student.{option}={value!r}', f'one of {sorted(known)}', 'correct the config')
        self.arguments = dict(depth=depth, width=width, variant=variant, in_channels=in_channels)
        style = VARIANTS[variant]
        norm = partial(nn.BatchNorm1d, eps=style.norm_eps, momentum=style.norm_momentum)
        planes = [plane * width // 32 for plane in PLANES]
        encoder_planes, decoder_planes = planes[:4], planes[4:]
        self.out_channels = decoder_planes[-1]
        self.tap_channels = dict(last=decoder_planes[-1], stride_2=decoder_planes[-2])

        stem = []
        for i, kernel in enumerate(style.stem_kernels):
            # Kernels of another size must not share neighbour tables; those of the same size should.
            key = 'subm_0' if kernel == 3 else f'stem_{kernel}'
            conv = self._lib.SubMConv3d(
                in_channels if i == 0 else width, width, kernel, padding=kernel // 2, bias=False, indice_key=key
            )
            stem += [conv, norm(width), nn.ReLU(inplace=True)]
        self.stem = self._lib.SparseSequential(*stem)

        block = partial(_ResidualBlock, self._lib, norm)
        channels = [width, *encoder_planes]
        self.down, self.encoder = nn.ModuleList(), nn.ModuleList()
        for level, (c_in, c_out) in enumerate(zip(channels, encoder_planes)):
            c_down = c_out if style.down_widens else c_in
            conv = self._lib.SparseConv3d(c_in, c_down, 2, stride=2, bias=False, indice_key=f'down_{level}')
            self.down.append(self._lib.SparseSequential(conv, norm(c_down), nn.ReLU(inplace=True)))
            self.encoder.append(_stage(block, c_down, c_out, BLOCKS[depth][level], f'subm_{level + 1}'))

        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        c_in = encoder_planes[-1]
        for stage, c_out in enumerate(decoder_planes):
            level = 3 - stage
            conv = self._lib.SparseInverseConv3d(c_in, c_out, 2, indice_key=f'down_{level}', bias=False)
            self.up.append(self._lib.SparseSequential(conv, norm(c_out), nn.ReLU(inplace=True)))
            self.decoder.append(
                _stage(block, c_out + channels[level], c_out, BLOCKS[depth][4 + stage], f'subm_{level}')
            )
            c_in = c_out

        if style.init_std is not None:
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    nn.init.trunc_normal_(parameter, std=style.init_std)
        if weights is not None:
            self.load_weights(weights)

    def _forward_taps(self, voxels: VoxelGrid, taps: Collection[str]) -> dict[str, Tensor]:
        """See :meth:`SparseStudent.forward_taps`; C = 96 at width 32, not negative."""
        # Whole cells at the deepest level: an odd size would lose its last plane in a strided convolution.
        shape = ((voxels.coords[:, 1:].amax(0) // 16 + 1) * 16).tolist()
        x = self._lib.SparseConvTensor(
            voxels.features.contiguous(), voxels.coords.contiguous(), shape, voxels.batch_size
        )
        x = self.stem(x)
        skips, found = [], {}
        for down, encoder in zip(self.down, self.encoder):
            skips.append(x)
            x = self._run_stage(encoder, down(x))
        for up, decoder in zip(self.up, self.decoder):
            x = up(x)
            x = self._run_stage(decoder, x.replace_feature(torch.cat([x.features, skips.pop().features], 1)))
            if len(skips) == 1 and 'stride_2' in taps:
                found['stride_2'] = gather_rows(x.features, parent_rows(voxels.coords, x.indices))
        return found | dict(last=x.features)

    def _run_stage(self, stage: nn.Module, x):
        if not (self.checkpointing and torch.is_grad_enabled()):
            return stage(x)
        features = checkpoint(
            lambda rows: stage(x.replace_feature(rows)).features,
            x.features,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), _running_statistics_kept(stage)),
        )
        return x.replace_feature(features)


@contextmanager
def _running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """A stage that runs again must not count its batch twice."""
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm1d)]
    kept = [(layer.momentum, layer.num_batches_tracked) for layer in norms]
    for layer in norms:  # track_running_stats=False would save other tensors than the first run
        layer.momentum, layer.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for layer, (momentum, batches) in zip(norms, kept):
            layer.momentum, layer.num_batches_tracked = momentum, batches


class _ResidualBlock(nn.Module):
    """Two 3^3 convolutions and a shortcut, ReLU after the sum."""

    def __init__(self, lib, norm, c_in: int, c_out: int, indice_key: str) -> None:
        super().__init__()
        conv = partial(lib.SubMConv3d, kernel_size=3, padding=1, bias=False, indice_key=indice_key)
        self.conv1, self.norm1 = conv(c_in, c_out), norm(c_out)
        self.conv2, self.norm2 = conv(c_out, c_out), norm(c_out)
        self.shortcut = nn.Identity()
        if c_in != c_out:
            # A 1^3 convolution. Not spconv's, which reads its (out, 1, 1, 1, in) weight as (in, out).
            self.shortcut = nn.Sequential(nn.Linear(c_in, c_out, bias=False), norm(c_out))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        shortcut = self.shortcut(x.features)
        out = self.conv1(x)
        out = self.conv2(out.replace_feature(self.relu(self.norm1(out.features))))
        return out.replace_feature(self.relu(self.norm2(out.features) + shortcut))


def _stage(block, c_in: int, c_out: int, count: int, indice_key: str) -> nn.Sequential:
    return nn.Sequential(*(block(c_in if i == 0 else c_out, c_out, indice_key) for i in range(count)))
