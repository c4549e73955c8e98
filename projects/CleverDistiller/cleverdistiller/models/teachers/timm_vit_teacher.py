import difflib
import re
from collections.abc import Mapping, Sequence

import timm
import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from mmengine.logging import print_log
from timm.models.naflexvit import NaFlexVit
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import check_finite, check_state_dict, read_state_dict
from cleverdistiller.models.teachers.frozen_teacher import FrozenTeacher
from cleverdistiller.ops.state_dict_hash import tensors_hash
from cleverdistiller.structures import TeacherFeatures, rows_and_columns

# DINOv2 may train its blocks in chunks: blocks.<chunk>.<block>., the block counted through.
_BLOCK_OF_CHUNK = re.compile(r'^blocks\.\d+\.(\d+)\.')


@MODELS.register_module()
class TimmViTTeacher(FrozenTeacher):
    """Any timm vision transformer as teacher: DINOv2, DINOv3, C-RADIO, CLIP and others.

    For DINOv2 (arXiv 2304.07193) the features equal the official model's: its position table is
    interpolated as the official code does (bicubic; without registers no antialiasing and a 0.1 offset in
    the scale, with registers antialiased and without offset). timm's own resampling differs.

    Args:
        name (str): timm model name, such as ``vit_small_patch14_dinov2.lvd142m``.
        weights (str): ``hub`` (timm's hub), ``random`` (for dry runs, logged as such), or the path of a
            timm file or of an official DINOv2 checkpoint, ``.pth`` or ``.safetensors``.
        image_size_hw (tuple[int, int]): Rows and columns of the input, multiples of the patch size.
        features (str): ``pre_norm``: the block's output, as ScaLR and SuperFlow use. ``post_norm``: after
            the model's final LayerNorm.
        block (int): Which block; -1 is the last.
        pos_embed (str): ``official`` or ``timm``, see above; only DINOv2 knows the difference.
        arch (dict | None): Changes to the architecture, as timm.create_model takes them: ``dict(depth=4)``. For weights
            of one's own (``configs/demo/teacher_vit_simulated.py``), which must fit it.
        half_features (bool): Round what it says to float16, as a cache of its features does
            (:class:`CachedTeacher`): training from images then repeats training from the cache.

    Raises:
        InputError: If an option is unknown, the model is no vision transformer, the weights cannot be had, do not fit
            or are not finite, or the image size is no multiple of the patch size.
    """

    def __init__(
        self,
        name: str = 'vit_small_patch14_dinov2.lvd142m',
        weights: str = 'hub',
        image_size_hw: tuple[int, int] = (224, 448),
        features: str = 'pre_norm',
        block: int = -1,
        pos_embed: str = 'official',
        arch: dict | None = None,
        half_features: bool = False,
    ) -> None:
        super().__init__()
        _check_option('features', features, ('pre_norm', 'post_norm'))
        _check_option('pos_embed', pos_embed, ('official', 'timm'))
        self.image_size_hw = rows_and_columns(image_size_hw, 'teacher.image_size_hw')
        self.features = features
        self.half_features = half_features
        self.vit = create_vit(name, weights, arch)
        if weights == 'random':
            print_log(
                f'Teacher {name} has RANDOM weights (weights="random"): for dry runs only, its features mean nothing.',
                logger='current',
                level=30,
            )
        self._check_image_size(name)
        self._fit_to_image_size(official='dinov2' in name and pos_embed == 'official')
        self.embed_dim = self.vit.embed_dim
        self.block = self._check_block(block)
        config = self.vit.pretrained_cfg
        self.register_buffer('mean', torch.tensor(config['mean']).view(1, 3, 1, 1))
        self.register_buffer('std', torch.tensor(config['std']).view(1, 3, 1, 1))
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """See :meth:`FrozenTeacher.forward`. Runs in half precision on CUDA, in float32 on a CPU."""
        return self.look(images).patches

    @torch.no_grad()
    def look(self, images: Tensor, blocks: Sequence[int] = (), class_token: bool = False) -> TeacherFeatures:
        """See :meth:`FrozenTeacher.look`."""
        asked = {block: self._check_block(block) for block in blocks}
        if class_token and getattr(_embedding(self.vit), 'cls_token', getattr(self.vit, 'cls_token', None)) is None:
            raise InputError(
                'a teacher without class token', 'one that has it', 'choose another, or leave the auxiliary out'
            )
        indices = sorted({self.block, *asked.values()})
        precision = torch.float16 if images.is_cuda else torch.bfloat16  # torch refuses float16 on a CPU, even unused
        with torch.autocast(images.device.type, dtype=precision, enabled=images.is_cuda):
            answer = self.vit.forward_intermediates(
                (images - self.mean) / self.std,
                indices=indices,
                norm=self.features == 'post_norm',
                stop_early=not class_token,
                output_fmt='NCHW',
                intermediates_only=not class_token,
            )
        tokens, maps = answer if class_token else (None, answer)  # (V, 1 + registers + h w, D) after the LayerNorm
        found = dict(zip(indices, maps))  # (V, D, h, w) each, class and register tokens dropped
        seen = TeacherFeatures(
            found[self.block],
            {block: found[index] for block, index in asked.items()},
            tokens[:, 0] if class_token else None,
        )
        return seen.half() if self.half_features else seen

    def weights_sha256(self) -> str:
        """See :meth:`FrozenTeacher.weights_sha256`."""
        weights = self.state_dict()
        if self._given_positions is not None:  # before interpolation, whose last bits depend on the machine
            weights['vit.pos_embed'] = self._given_positions
        return tensors_hash(weights)

    def _check_image_size(self, name: str) -> None:
        patch = _embedding(self.vit).patch_size[0]
        if any(size % patch for size in self.image_size_hw):
            nearest = tuple(max(1, round(size / patch)) * patch for size in self.image_size_hw)
            raise InputError(
                f'image_size_hw={self.image_size_hw} for {name} with patches of {patch} px',
                f'multiples of {patch}',
                f'use {nearest} here and in LoadCameraImages',
            )

    def _check_block(self, block: int) -> int:
        depth = len(self.vit.blocks)
        if not isinstance(block, int) or not -depth <= block < depth:
            raise InputError(
                f'teacher.block={block!r}', f'a whole number, -{depth} to {depth - 1}', '-1 is the last block'
            )
        if self.features == 'post_norm' and isinstance(self.vit.norm, nn.Identity):
            raise InputError(
                'teacher.features=post_norm for a model without final norm', 'features=pre_norm', 'correct the config'
            )
        return block % depth

    def _fit_to_image_size(self, official: bool) -> None:
        """Fix the input size and interpolate the position table to it, once and for all."""
        self._given_positions = None
        if isinstance(self.vit, NaFlexVit):  # does so itself, at each image
            return
        native_table = getattr(self.vit, 'pos_embed', None)  # none where positions are relative
        if native_table is not None:
            self._given_positions = native_table = native_table.detach()
        rows, cols = self.vit.patch_embed.grid_size
        self.vit.set_input_size(img_size=self.image_size_hw)
        if official and rows == cols:  # as its published tables are
            table = interpolate_dinov2_positions(
                native_table, self.vit.patch_embed.grid_size, num_registers=self.vit.num_reg_tokens
            )
            self.vit.pos_embed = nn.Parameter(table)


def interpolate_dinov2_positions(table: Tensor, grid_hw: tuple[int, int], num_registers: int) -> Tensor:
    """Resize DINOv2's position table as its official code does by default.

    Args:
        table (Tensor): (1, 1 + n^2, D) with the class token's row first, or (1, n^2, D) where registers
            are used (timm folds that row into the class token).
        grid_hw (tuple[int, int]): Patch rows and columns wanted.
        num_registers (int): 0 for the first models, 4 for the ``reg`` ones.

    Returns:
        Tensor: (1, 1 + h w, D) or (1, h w, D) float32.
    """
    prefix = 0 if num_registers else 1
    side = round((table.shape[1] - prefix) ** 0.5)
    if grid_hw == (side, side):
        return table
    grid = table[:, prefix:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if num_registers:
        grid = F.interpolate(grid, size=grid_hw, mode='bicubic', antialias=True)
    else:  # the official offset: passed as a scale factor, it changes where the table is read
        scale = tuple((size + 0.1) / side for size in grid_hw)
        grid = F.interpolate(grid, scale_factor=scale, mode='bicubic', antialias=False)
    return torch.cat([table[:, :prefix].float(), grid.flatten(2).transpose(1, 2)], 1)


def create_vit(name: str, weights: str, arch: Mapping | None = None) -> nn.Module:
    """Build a timm model without classifier at its native size.

    Args:
        name (str): timm model name.
        weights (str): ``hub``, ``random`` or a path, see :class:`TimmViTTeacher`.
        arch (Mapping | None): Changes to the architecture.

    Returns:
        nn.Module: A vision transformer.

    Raises:
        InputError: See :class:`TimmViTTeacher`.
    """
    _check_name(name)
    if weights == 'hub':
        if arch:
            raise InputError(
                f'teacher.arch={dict(arch)} with weights=hub',
                'the architecture that the published weights are for',
                'leave arch out, or give the file of weights that were trained with it',
            )
        try:
            vit = timm.create_model(name, pretrained=True, num_classes=0)
        except Exception as error:  # each hub client has its own errors: offline, gated, no such file
            reason = (str(error).strip() or repr(error)).splitlines()[0][:160]
            raise InputError(
                f"no weights of {name} from timm's hub ({reason})",
                'a reachable hub or its local cache',
                'download the file where there is a network and set model.teacher.weights=/path/to/file '
                '(timm or official DINOv2 .pth/.safetensors), or weights=random for a dry run',
            ) from error
        _check_kind(vit, name)
        check_finite(vit.state_dict(), f"the weights of {name} from timm's hub")
        return vit
    try:
        vit = timm.create_model(name, pretrained=False, num_classes=0, **(arch or {}))
    except (TypeError, AssertionError) as error:  # an argument that it does not know; heads that do not share the width
        if not arch:
            raise
        raise InputError(
            f'teacher.arch={dict(arch)} for {name} ({error})',
            'arguments of its timm class, such as depth, embed_dim, num_heads, img_size',
            'correct the config',
        ) from error
    _check_kind(vit, name)
    if weights != 'random':
        _load_local_weights(vit, name, weights)
    return vit


def _check_name(name: str) -> None:
    """Refuse a name or tag that timm does not know, with those that look like it."""
    try:
        if timm.is_model(name):
            timm.get_pretrained_cfg(name)  # knows the tag, or raises
            return
    except RuntimeError:
        pass
    near = difflib.get_close_matches(name, [*timm.list_pretrained(), *timm.list_models()], n=3)
    raise InputError(
        f'teacher name {name!r}',
        'a timm model name, the tag after the dot with it',
        f'perhaps {" or ".join(near)}' if near else 'see timm.list_pretrained("vit_*") for the names',
    )


def _check_kind(vit: nn.Module, name: str) -> None:
    """Refuse what has no row of blocks that keep the grid of patches: Swin, Hiera, convolutional networks."""
    takes_sizes = hasattr(vit, 'set_input_size') or isinstance(vit, NaFlexVit)
    if not takes_sizes or not all(hasattr(vit, part) for part in ('forward_intermediates', 'blocks', 'embed_dim')):
        raise InputError(
            f'{name}, which is no vision transformer ({type(vit).__name__})',
            'a timm ViT, whose blocks all keep the grid of patches',
            'choose a vit_*, eva* or deit* model',
        )


def _load_local_weights(vit: nn.Module, name: str, path: str) -> None:
    """Load a timm file or an official DINOv2 checkpoint, strictly."""
    found = read_state_dict(path)
    remedy = f'give the weights of {name}, or set model.teacher.name (and arch) to the model the file was made for'
    if any(key.startswith('backbone.') for key in found):  # DINOv2's own training checkpoints
        found = {
            _BLOCK_OF_CHUNK.sub(r'blocks.\1.', key.removeprefix('backbone.')): value
            for key, value in found.items()
            if key.startswith('backbone.')
        }
    _check_width_and_positions(vit, found, path, name, remedy)
    if isinstance(vit, VisionTransformer):
        found = checkpoint_filter_fn(found, vit)  # timm's own conversion from the official names
    found = {key: value for key, value in found.items() if not key.startswith('head.')}
    check_state_dict(found, vit.state_dict(), path, name, remedy)
    vit.load_state_dict(found, strict=True)


def _check_width_and_positions(vit: nn.Module, found: dict, path: str, name: str, remedy: str) -> None:
    """Catch before conversion what timm would resample silently or fail on obscurely."""
    table = found.get('pos_embed')
    if table is None or getattr(vit, 'pos_embed', None) is None:
        return
    tokens, width = vit.pos_embed.shape[1:]
    registers = 'register_tokens' in found  # official: the class token still has its row in the table
    if table.dim() != 3 or table.shape[2] != width or table.shape[1] - registers != tokens:
        raise InputError(
            f'{path} with a position table of shape {tuple(table.shape)} and '
            f'{"" if registers else "no "}register tokens',
            f'(1, {tokens}, {width}) for {name}, one row more if official with registers',
            remedy,
        )


def _embedding(vit: nn.Module) -> nn.Module:
    """What makes tokens of pixels."""
    return vit.embeds if isinstance(vit, NaFlexVit) else vit.patch_embed


def _check_option(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f'teacher.{option}={value!r}', ' or '.join(known), 'correct the config')
