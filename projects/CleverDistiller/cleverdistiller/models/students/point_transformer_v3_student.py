from collections.abc import Collection, Sequence
from itertools import islice, pairwise

import numpy as np
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from cleverdistiller.errors import InputError
from cleverdistiller.models.students._point_transformer_parts import NORM, Block, GridPooling, GridUnpooling
from cleverdistiller.models.students._serialized_attention import SerializedLevel
from cleverdistiller.models.students.sparse_student import SparseStudent
from cleverdistiller.ops.serialization import CURVES
from cleverdistiller.ops.voxelize import gather_rows
from cleverdistiller.structures import VoxelGrid


@MODELS.register_module()
class PointTransformerV3Student(SparseStudent):
    """Point Transformer V3 (Wu et al., arXiv 2312.10035) as Pointcept's PT-v3m1 on nuScenes, without classifier.

    A U-Net over five levels of voxels, each of twice the size of the one before. In a block, voxels attend to the
    others of their patch: ``patch_size`` neighbours on a space-filling curve. Each block takes the next curve; training
    draws anew at each level which comes first. No relative positions (Pointcept's setting with flash attention).

    The CleverDistiller paper says "decoder dims 256". ``decoder_channels``:

    - ``(256, 256, 256, 256)``: all stages (the default here), 60.13 M parameters;
    - ``(256, 64, 128, 256)``: the last stage alone, 51.10 M;
    - ``(64, 64, 128, 256)``: Pointcept's, 46.16 M.

    In Pointcept's decoder, the positional convolution of a stage's first block reads the projected skip features alone:
    its unpooling adds the parents' to ``feat`` and leaves ``sparse_conv_feat`` as it was. Published weights were
    trained so. Students that were trained here before there was ``unpooling`` read the sum; their files say so by
    saying nothing of it, and are refused where ``unpooling`` is not ``sum``.

    Differs from Pointcept where a feature would depend on what else is in the batch: its curves' length, and its patch
    length without flash attention; and the order of the curves is fixed in eval mode.

    Args:
        in_channels (int): 3 coordinates and further channels (1: intensity).
        channels (Sequence[int]): Of each level of the encoder, smallest voxels first.
        depths (Sequence[int]): Blocks of each level of the encoder.
        decoder_channels (Sequence[int]): Of each level of the decoder, smallest voxels first; one level fewer.
        decoder_depths (Sequence[int]): Blocks of each level of the decoder.
        head_channels (int): Channels of an attention head.
        patch_size (int): Voxels of a patch.
        mlp_ratio (float): Hidden over outer width of the MLPs.
        drop_path (float): Highest rate of stochastic depth, at the deepest level.
        curves (Sequence[str]): Out of ``z``, ``z-trans``, ``hilbert`` and ``hilbert-trans``.
        unpooling (str): What that convolution reads: ``pointcept``, the skip alone; ``sum``, skip plus parent.
        backend (str): ``auto``, ``spconv`` or ``spconv_triton``.
        weights (str | None): An exported ``student.pth`` or ``student.safetensors`` to start from.

    Raises:
        InputError: If the options do not fit each other or the weights do not fit.
    """

    told_apart_by = 'channels, depths and decoder_channels'
    arguments_of_version = {1: dict(unpooling='sum'), 2: dict(unpooling='pointcept')}

    def __init__(
        self,
        in_channels: int = 4,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        depths: Sequence[int] = (2, 2, 2, 6, 2),
        decoder_channels: Sequence[int] = (256, 256, 256, 256),
        decoder_depths: Sequence[int] = (2, 2, 2, 2),
        head_channels: int = 16,
        patch_size: int = 1024,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.3,
        curves: Sequence[str] = ('z', 'z-trans', 'hilbert', 'hilbert-trans'),
        unpooling: str = 'pointcept',
        backend: str = 'auto',
        weights: str | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(backend, init_cfg)
        _check_options(channels, depths, decoder_channels, decoder_depths, head_channels, curves, unpooling)
        # Lists, as they come back from an exported student's JSON. Stochastic depth is the training's affair.
        self.arguments = dict(
            in_channels=in_channels,
            channels=list(channels),
            depths=list(depths),
            decoder_channels=list(decoder_channels),
            decoder_depths=list(decoder_depths),
            head_channels=head_channels,
            patch_size=patch_size,
            mlp_ratio=mlp_ratio,
            curves=list(curves),
            unpooling=unpooling,
        )
        self._version = 1 if unpooling == 'sum' else 2  # see arguments_of_version
        self.curves, self.patch_size = tuple(curves), patch_size
        self.out_channels = decoder_channels[0]
        self.tap_channels = dict(zip(('last', 'stride_2'), decoder_channels))

        def blocks(level: int, width: int, rates: Sequence[float]) -> nn.ModuleList:
            key = f'level_{level}'
            return nn.ModuleList(
                Block(self._lib, width, width // head_channels, mlp_ratio, rate, i % len(curves), key)
                for i, rate in enumerate(rates)
            )

        # The embedding's 5^3 convolution must not share the neighbour table of the blocks' 3^3.
        stem = self._lib.SubMConv3d(in_channels, channels[0], 5, padding=2, bias=False, indice_key='embedding')
        self.embedding = self._lib.SparseSequential(stem, nn.BatchNorm1d(channels[0], **NORM), nn.GELU())

        # Parameters named "blocks" learn at a tenth of the rate of the others in Pointcept's recipe.
        levels = range(len(channels))
        rates = _rising_rates(drop_path, depths)
        self.encoder_blocks = nn.ModuleList(blocks(level, channels[level], rates[level]) for level in levels)
        self.pools = nn.ModuleList(GridPooling(*widths) for widths in pairwise(channels))

        rates = _rising_rates(drop_path, decoder_depths)
        upwards = levels[-2::-1]
        self.decoder_blocks = nn.ModuleList(
            blocks(level, decoder_channels[level], rates[level][::-1]) for level in upwards
        )
        below = [*decoder_channels[1:], channels[-1]]
        self.unpools = nn.ModuleList(
            GridUnpooling(below[level], channels[level], decoder_channels[level]) for level in upwards
        )
        if weights is not None:
            self.load_weights(weights)

    def _forward_taps(self, voxels: VoxelGrid, taps: Collection[str]) -> dict[str, Tensor]:
        """See :meth:`SparseStudent.forward_taps`; C = 256 by default.

        Raises:
            InputError: If a feature is not finite or the grid is longer than 2^16 cells.
        """
        _check_finite(voxels)
        level = SerializedLevel.of(voxels.coords, self.curves, voxels.batch_size, self.patch_size, self.training)
        x = self._run(self.encoder_blocks[0], self.embedding(self._sparse(voxels.features, level)), level)
        skips, found = [], {}
        for pool, blocks in zip(self.pools, self.encoder_blocks[1:]):
            larger, parent = level.coarser(self.training)
            skips.append((x, level, parent))
            x, level = self._sparse(pool(x.features, parent, len(larger.coords)), larger), larger
            x = self._run(blocks, x, level)
        for unpool, blocks in zip(self.unpools, self.decoder_blocks):
            skip, level, parent = skips.pop()
            rows, own = unpool(x.features, skip.features, parent)
            position_rows = own if self.arguments['unpooling'] == 'pointcept' else None
            x = self._run(blocks, skip.replace_feature(rows), level, position_rows)
            if len(skips) == 1 and 'stride_2' in taps:
                found['stride_2'] = gather_rows(x.features, skips[0][2])
        return found | dict(last=x.features)

    def _sparse(self, features: Tensor, level: SerializedLevel):
        return self._lib.SparseConvTensor(
            features.contiguous(), level.coords.contiguous(), list(level.spatial_shape), level.batch_size
        )

    @staticmethod
    def _run(blocks: nn.ModuleList, x, level: SerializedLevel, position_rows: Tensor | None = None):
        for block in blocks:
            x = block(x, level, position_rows)
            position_rows = None  # the first block's alone: it leaves one tensor to the next
        return x


def _rising_rates(highest: float, depths: Sequence[int]) -> list[list[float]]:
    """Evenly from 0 to the highest, a list for each level."""
    rates = iter(np.linspace(0, highest, sum(depths)).tolist())
    return [list(islice(rates, depth)) for depth in depths]


def _check_finite(voxels: VoxelGrid) -> None:
    """Attention would spread one NaN over its whole patch; its cell says nothing: it wraps around to a small one."""
    bad = (~voxels.features.isfinite()).any(1)
    if bad.any():
        raise InputError(
            f'{int(bad.sum())} of {len(voxels)} voxels with a feature that is NaN or infinite',
            'finite coordinates and intensities',
            'drop such points before they are put on the grid',
        )


def _check_options(channels, depths, decoder_channels, decoder_depths, head_channels, curves, unpooling) -> None:
    if unpooling not in ('pointcept', 'sum'):
        raise InputError(f'student.unpooling={unpooling!r}', 'pointcept or sum', 'correct the config')
    for option, values, length in (
        ('depths', depths, len(channels)),
        ('decoder_channels', decoder_channels, len(channels) - 1),
        ('decoder_depths', decoder_depths, len(channels) - 1),
    ):
        if len(values) != length:
            raise InputError(
                f'student.{option}={tuple(values)} with student.channels={tuple(channels)}',
                f'{length} numbers: the encoder has {len(channels)} levels, the decoder one fewer',
                'correct the config',
            )
    odd = [width for width in (*channels, *decoder_channels) if width % head_channels]
    if odd:
        raise InputError(
            f'student.channels or decoder_channels with {odd[0]}',
            f'multiples of student.head_channels={head_channels}',
            'correct the config',
        )
    unknown = [curve for curve in curves if curve not in CURVES]
    if unknown or not curves:
        raise InputError(f'student.curves={tuple(curves)}', f'some of {", ".join(CURVES)}', 'correct the config')
