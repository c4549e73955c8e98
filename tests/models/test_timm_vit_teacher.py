import copy
import math
import pickle
import re

import pytest
import timm
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from safetensors.torch import save_file

from cleverdistiller.errors import InputError
from cleverdistiller.models.teachers import TimmViTTeacher
from cleverdistiller.models.teachers.timm_vit_teacher import interpolate_dinov2_positions

SIZE_HW = (56, 112)  # 4 x 8 patches of 14 px
HEADS = 6
NAMES = {False: 'vit_small_patch14_dinov2.lvd142m', True: 'vit_small_patch14_reg4_dinov2.lvd142m'}


def made_up_dinov2(registers: bool, width: int = 384, depth: int = 12) -> dict[str, torch.Tensor]:
    """Weights under the official names, large enough for every part to matter."""
    rng = torch.Generator().manual_seed(int(registers))

    def draw(*shape: int, mean: float = 0.0, std: float = 0.2) -> torch.Tensor:
        return mean + std * torch.randn(shape, generator=rng)

    state = {'cls_token': draw(1, 1, width), 'pos_embed': draw(1, 1370, width, std=0.5), 'mask_token': draw(1, width)}
    if registers:
        state['register_tokens'] = draw(1, 4, width, std=0.5)
    state['patch_embed.proj.weight'] = draw(width, 3, 14, 14, std=0.04)
    state['patch_embed.proj.bias'] = draw(width)
    linear = {'attn.qkv': (3, 1), 'attn.proj': (1, 1), 'mlp.fc1': (4, 1), 'mlp.fc2': (1, 4)}
    for block in (f'blocks.{i}.' for i in range(depth)):
        for name, (out, into) in linear.items():
            state[f'{block}{name}.weight'] = draw(out * width, into * width, std=(into * width) ** -0.5)
            state[f'{block}{name}.bias'] = draw(out * width)
        for name in ('norm1', 'norm2'):
            state |= {f'{block}{name}.weight': draw(width, mean=1), f'{block}{name}.bias': draw(width)}
        for name in ('ls1', 'ls2'):
            state[f'{block}{name}.gamma'] = draw(width, mean=0.5)
    return state | {'norm.weight': draw(width, mean=1), 'norm.bias': draw(width)}


def official_positions(table: torch.Tensor, rows: int, cols: int, registers: bool) -> torch.Tensor:
    """facebookresearch/dinov2 interpolate_pos_encoding: without registers the hub passes
    interpolate_offset=0.1, antialias False; with registers interpolate_offset=0.0, antialias True."""
    side = math.isqrt(table.shape[1] - 1)
    grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if registers:
        grid = F.interpolate(grid, size=(rows, cols), mode='bicubic', antialias=True)
    else:
        grid = F.interpolate(
            grid, scale_factor=((rows + 0.1) / side, (cols + 0.1) / side), mode='bicubic', antialias=False
        )
    assert grid.shape[-2:] == (rows, cols)
    return torch.cat([table[:, :1], grid.permute(0, 2, 3, 1).reshape(1, rows * cols, -1)], 1)


def official_forward(state: dict, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """DinoVisionTransformer.forward_features, written out."""

    def linear(x, name):
        return F.linear(x, state[f'{name}.weight'], state[f'{name}.bias'])

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], state[f'{name}.weight'], state[f'{name}.bias'], eps=1e-6)

    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    patch = 'patch_embed.proj'
    x = F.conv2d((images - mean) / std, state[f'{patch}.weight'], state[f'{patch}.bias'], stride=14)
    count, width, rows, cols = x.shape
    x = torch.cat([state['cls_token'].expand(count, -1, -1), x.flatten(2).transpose(1, 2)], 1)
    x = x + official_positions(state['pos_embed'], rows, cols, 'register_tokens' in state)
    if 'register_tokens' in state:
        x = torch.cat([x[:, :1], state['register_tokens'].expand(count, -1, -1), x[:, 1:]], 1)
    for i in range(12):
        block = f'blocks.{i}'
        qkv = linear(norm(x, f'{block}.norm1'), f'{block}.attn.qkv')
        q, k, v = qkv.reshape(count, -1, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-1, -2) * (width // HEADS) ** -0.5).softmax(-1)
        x = x + state[f'{block}.ls1.gamma'] * linear(
            (attention @ v).transpose(1, 2).reshape(x.shape), f'{block}.attn.proj'
        )
        hidden = F.gelu(linear(norm(x, f'{block}.norm2'), f'{block}.mlp.fc1'))
        x = x + state[f'{block}.ls2.gamma'] * linear(hidden, f'{block}.mlp.fc2')
    tokens = dict(pre_norm=x, post_norm=norm(x, 'norm'))
    return {name: t[:, -rows * cols :].transpose(1, 2).reshape(count, width, rows, cols) for name, t in tokens.items()}


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope='module')
def images():
    return torch.rand(2, 3, *SIZE_HW, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope='module')
def official(tmp_path_factory, images):
    """By ``registers``: the files and the official model's features."""
    folder = tmp_path_factory.mktemp('dinov2')
    found = {}
    for registers in (False, True):
        state = made_up_dinov2(registers)
        files = {suffix: str(folder / f'{registers}{suffix}') for suffix in ('.pth', '.safetensors')}
        torch.save(state, files['.pth'])
        save_file(state, files['.safetensors'])
        found[registers] = dict(state=state, files=files, features=official_forward(state, images))
    return found


@pytest.mark.parametrize(
    'registers, suffix, features',
    [
        (False, '.pth', 'pre_norm'),
        (False, '.safetensors', 'post_norm'),
        (True, '.pth', 'post_norm'),
        (True, '.safetensors', 'pre_norm'),
    ],
)
def test_features_equal_the_official_dinov2(official, images, registers, suffix, features):
    made_up = official[registers]
    teacher = TimmViTTeacher(NAMES[registers], made_up['files'][suffix], SIZE_HW, features)
    found = teacher(images)
    assert found.shape == (2, teacher.embed_dim, 4, 8) and teacher.embed_dim == 384
    assert relative_error(found, made_up['features'][features]) < 1e-4
    other = made_up['features']['post_norm' if features == 'pre_norm' else 'pre_norm']
    assert relative_error(found, other) > 0.1


def test_timm_positions_differ_without_registers_and_agree_with_them(official, images):
    errors = {}
    for registers, made_up in official.items():
        teacher = TimmViTTeacher(NAMES[registers], made_up['files']['.pth'], SIZE_HW, pos_embed='timm')
        errors[registers] = relative_error(teacher(images), made_up['features']['pre_norm'])
    assert errors[False] > 0.1
    assert errors[True] < 1e-4


@pytest.mark.parametrize('chunked', [False, True])
def test_dinov2_s_training_layout_loads(official, images, tmp_path, chunked):
    state = {f'backbone.{key}': value for key, value in official[False]['state'].items()}
    if chunked:  # three blocks a chunk, counted through
        state = {
            re.sub(r'blocks\.(\d+)', lambda m: f'blocks.{int(m[1]) // 3}.{m[1]}', key): value
            for key, value in state.items()
        }
    state['dino_head.last_layer.weight'] = torch.zeros(3)
    torch.save(dict(teacher=state), tmp_path / 'teacher.pth')
    teacher = TimmViTTeacher(NAMES[False], str(tmp_path / 'teacher.pth'), SIZE_HW)
    assert relative_error(teacher(images), official[False]['features']['pre_norm']) < 1e-4


@pytest.mark.parametrize('options', [dict(block=6), dict(block=-7)])
def test_a_block_that_is_not_there_is_refused(options):
    with pytest.raises(InputError, match=r'teacher\.block'):
        TimmViTTeacher('test_vit', 'random', (64, 128), **options)


def test_positions_of_the_native_size_stay_as_they_are():
    table = torch.rand(1, 1 + 25, 8)
    assert torch.equal(interpolate_dinov2_positions(table, (5, 5), num_registers=0), table)
    assert torch.equal(interpolate_dinov2_positions(table[:, 1:], (5, 5), num_registers=4), table[:, 1:])
    assert interpolate_dinov2_positions(table, (3, 7), num_registers=0).shape == (1, 22, 8)


@pytest.mark.parametrize(
    'registers, change, message',
    [
        (False, lambda s: made_up_dinov2(False, width=768, depth=1), r'position table.*\(1, 1370, 768\)'),
        (False, lambda s: {k: v for k, v in s.items() if not k.startswith('blocks.11.')}, '14 missing'),
        (False, lambda s: s | {'blocks.12.norm1.weight': torch.ones(384)}, '1 unexpected'),
        (False, lambda s: s | {'blocks.3.mlp.fc1.bias': torch.ones(7)}, 'of another shape'),
        (False, lambda s: s | {'register_tokens': torch.ones(1, 4, 384)}, 'and register tokens'),
        (True, lambda s: {k: v for k, v in s.items() if k != 'register_tokens'}, 'and no register tokens'),
    ],
    ids=['width', 'block missing', 'block too many', 'shape', 'registers given', 'registers missing'],
)
def test_weights_that_do_not_fit_are_refused(official, tmp_path, registers, change, message):
    torch.save(change(dict(official[registers]['state'])), tmp_path / 'other.pth')
    with pytest.raises(InputError, match=f'(?s){message}.*remedy: give the weights of {NAMES[registers]}'):
        TimmViTTeacher(NAMES[registers], str(tmp_path / 'other.pth'), SIZE_HW)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_truncated_file_is_refused(official, tmp_path, suffix):
    with open(official[False]['files'][suffix], 'rb') as file:
        (tmp_path / f'cut{suffix}').write_bytes(file.read(100_000))
    with pytest.raises(InputError, match=r'(?s)cannot be read.*remedy: it is truncated'):
        TimmViTTeacher('test_vit', str(tmp_path / f'cut{suffix}'), (64, 128))


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.parametrize(
    'save', [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))], ids=['torch file', 'bare pickle']
)
def test_a_pickle_that_needs_code_is_refused_unrun(tmp_path, save):
    save(dict(state_dict=RunsCode(tmp_path / 'ran')), tmp_path / 'evil.pth')
    with pytest.raises(InputError, match=r'(?s)more than tensors.*remedy: opening it would run code'):
        TimmViTTeacher('test_vit', str(tmp_path / 'evil.pth'), (64, 128))
    assert not (tmp_path / 'ran').exists()


def test_an_unreachable_hub_is_explained(monkeypatch, tmp_path):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    with pytest.raises(InputError, match=r'(?s)no weights of test_vit from timm.*remedy: download the file'):
        TimmViTTeacher('test_vit', 'hub', (64, 128))


def test_a_hub_that_fails_without_words_is_explained(monkeypatch):
    def fail(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr(timm, 'create_model', fail)
    with pytest.raises(InputError, match=r'(?s)no weights of test_vit from timm.*ConnectionError.*remedy'):
        TimmViTTeacher('test_vit', 'hub', (64, 128))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(image_size_hw=(60, 128)), r'patches of 16 px(?s:.*)remedy: use \(64, 128\)'),
        (dict(image_size_hw=224), r'image_size_hw=224\n(?s:.*)two whole numbers'),
        (dict(image_size_hw=(64, 128, 3)), r'\(64, 128, 3\)(?s:.*)two whole numbers'),
        (dict(image_size_hw=(64.0, 128)), r'64\.0(?s:.*)two whole numbers'),
        (dict(name='nobody'), "'nobody'(?s:.*)remedy: see timm.list_pretrained"),
        (dict(name='tset_vit'), "'tset_vit'(?s:.*)remedy: perhaps test_vit"),
        (dict(name='vit_small_patch14_dinov2.lvd142'), r'lvd142\'(?s:.*)perhaps vit_small_patch14_dinov2\.lvd142m'),
        (dict(name='vit_tiny_patch16_224.dino'), r'\.dino\'(?s:.*)a timm model name, the tag'),
        (dict(name='resnet18'), 'no vision transformer(?s:.*)remedy: choose'),
        (dict(name='swin_tiny_patch4_window7_224', image_size_hw=(224, 448)), 'no vision transformer(?s:.*)remedy'),
        (dict(name='hiera_tiny_224', image_size_hw=(224, 448)), 'no vision transformer(?s:.*)remedy'),
        (dict(block='last'), "block='last'(?s:.*)whole number(?s:.*)-1 is the last"),
        (dict(block=0.0), r'block=0\.0(?s:.*)whole number'),
        (dict(features='norm'), 'pre_norm or post_norm(?s:.*)remedy'),
        (dict(pos_embed='hub'), 'official or timm(?s:.*)remedy'),
        (dict(weights='nowhere.pth'), 'nowhere.pth(?s:.*)remedy: check the path'),
        (dict(arch=dict(width=3)), "'width'(?s:.*)remedy: correct the config"),
        (dict(arch=dict(embed_dim=64, num_heads=3)), 'num_heads(?s:.*)remedy: correct the config'),
        (dict(arch=dict(depth=2), weights='hub'), 'arch(?s:.*)published weights(?s:.*)remedy: leave arch out'),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TimmViTTeacher(**{**dict(name='test_vit', weights='random', image_size_hw=(64, 128)), **options})


def test_a_model_of_the_hub_that_is_no_vit_is_refused(monkeypatch):
    build = timm.create_model
    monkeypatch.setattr(timm, 'create_model', lambda name, pretrained, **options: build(name, **options))
    with pytest.raises(InputError, match='no vision transformer'):
        TimmViTTeacher('mobilevit_xxs', 'hub', (64, 128))


@pytest.mark.parametrize('source', ['a file', 'the hub'])
@pytest.mark.parametrize('number', [math.nan, -math.inf])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, monkeypatch, source, number):
    vit = timm.create_model('test_vit', num_classes=0)
    with torch.no_grad():
        vit.blocks[2].mlp.fc1.bias[3] = number
    if source == 'a file':
        torch.save(vit.state_dict(), tmp_path / 'w.pth')
    monkeypatch.setattr(timm, 'create_model', lambda *args, **options: vit)
    with pytest.raises(InputError, match=r'test_vit|w\.pth') as refused:
        TimmViTTeacher('test_vit', str(tmp_path / 'w.pth') if source == 'a file' else 'hub', (160, 160))
    assert '1 of 192 numbers of blocks.2.mlp.fc1.bias' in str(refused.value)


def test_positions_may_be_relative():
    options = dict(arch=dict(depth=1, embed_dim=48, num_heads=3))
    teacher = TimmViTTeacher('vit_relpos_small_patch16_224', 'random', (32, 64), **options)
    assert teacher(torch.rand(1, 3, 32, 64)).shape == (1, 48, 2, 4) and len(teacher.weights_sha256()) == 64


def test_a_teacher_is_frozen():
    teacher = TimmViTTeacher('test_vit', 'random', (64, 128))
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    teacher.train()
    assert not any(module.training for module in teacher.modules())
    assert copy.deepcopy(teacher) is teacher
    image = torch.rand(1, 3, 64, 128, requires_grad=True)
    assert not teacher(image).requires_grad


def test_random_weights_are_logged(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        TimmViTTeacher('test_vit', 'random', (64, 128))
    finally:
        logger.removeHandler(caplog.handler)
    levels = [record.levelname for record in caplog.records if 'RANDOM weights' in record.message]
    assert levels == ['WARNING']


@pytest.mark.parametrize(
    'name, width, prefix',
    [('vit_small_patch16_dinov3', 384, 5), ('vit_xsmall_patch16_clip_224', 256, 1), ('test_vit', 64, 1)],
)
def test_other_vits_equal_timm_at_that_size(name, width, prefix):
    teacher = TimmViTTeacher(name, 'random', (64, 128), features='post_norm')
    native = timm.create_model(name, num_classes=0, img_size=(64, 128)).eval()
    native.load_state_dict(teacher.vit.state_dict())
    images = torch.rand(2, 3, 64, 128)
    with torch.no_grad():
        tokens = native.forward_features((images - teacher.mean) / teacher.std)[:, prefix:]
    found = teacher(images)
    assert found.shape == (2, width, 4, 8) and teacher.embed_dim == width
    assert relative_error(found, tokens.transpose(1, 2).reshape(found.shape)) < 1e-5


def test_c_radio_equals_timm_s_port_that_resizes_positions_at_each_image():
    name, arch = 'naflexvit_base_patch16_radio_v3', dict(depth=2)
    teacher = TimmViTTeacher(name, 'random', (64, 128), arch=arch)  # it has no final norm
    images = torch.rand(2, 3, 64, 128)
    with torch.no_grad():
        tokens = teacher.vit.forward_features((images - teacher.mean) / teacher.std)
    seen = teacher.look(images, [-2], class_token=True)
    patches = tokens[:, teacher.vit.num_prefix_tokens :]
    assert seen.patches.shape == seen.blocks[-2].shape == (2, 768, 4, 8)
    torch.testing.assert_close(seen.patches, patches.transpose(1, 2).reshape(2, 768, 4, 8))
    torch.testing.assert_close(seen.class_token, tokens[:, 0])


def test_a_block_is_counted_from_either_end():
    images = torch.rand(1, 3, 64, 128)
    features = {}
    for block in (-1, -2, 5, 4):  # test_vit has six
        torch.manual_seed(0)
        features[block] = TimmViTTeacher('test_vit', 'random', (64, 128), block=block)(images)
    assert torch.equal(features[-1], features[5]) and torch.equal(features[-2], features[4])
    assert not torch.allclose(features[-1], features[-2], atol=1e-3)


def test_another_architecture_loads_its_own_weights_strictly(tmp_path):
    name, arch = NAMES[False], dict(embed_dim=96, depth=2, num_heads=3, img_size=SIZE_HW)
    teacher = TimmViTTeacher(name, 'random', SIZE_HW, arch=arch)
    assert teacher.embed_dim == 96 and len(teacher.vit.blocks) == 2
    assert teacher.vit.pos_embed.shape == (1, 1 + 4 * 8, 96)
    file = str(tmp_path / 'teacher.safetensors')
    save_file(teacher.vit.state_dict(), file)
    again, images = TimmViTTeacher(name, file, SIZE_HW, arch=arch), torch.rand(1, 3, *SIZE_HW)
    assert torch.equal(again(images), teacher(images))
    assert TimmViTTeacher(name, file, (28, 56), arch=arch)(images[..., :28, :56]).shape == (1, 96, 2, 4)
    with pytest.raises(InputError, match='14 unexpected'):
        TimmViTTeacher(name, file, SIZE_HW, arch=dict(arch, depth=1))
