"""Methods learn from a cache as they do from images; a cache that is not this teacher's is refused."""

import copy

import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate

from cleverdistiller.errors import InputError
from cleverdistiller.models.teachers import TimmViTTeacher
from cleverdistiller.models.teachers.cached_teacher import teacher_identity
from cleverdistiller.structures import TeacherFeatures
from conftest import small_dataset, small_model, small_pipeline
from teacher_caches import SIZE_HW, write_cache

HEAD, LOSS = dict(type='MLPHead', hidden_channels=32), dict(type='L2FeatureLoss')
TEACHER = small_model()['teacher']
BLOCK = dict(type='BlockMatching', projection_head=HEAD, distillation_loss=LOSS)
TOKEN = dict(type='ClassTokenMatching', projection_head=HEAD)
ANOTHER = dict(type='AnotherTeacher', teacher=TEACHER, projection_head=HEAD, distillation_loss=LOSS)
PREPROCESSOR = dict(type='DistillationDataPreprocessor', voxel_size_m=0.2, pair_points='all', mix3d_prob=1.0)
CONTRASTIVE = dict(embed_channels=8, contrastive_loss=dict(type='InfoNCELoss'), data_preprocessor=PREPROCESSOR)
SUPERPIXELS = dict(type='LoadSuperpixels', num_segments=20, sigma=1.0)


def built(model: dict):
    """The same teacher and student at every call, as the seed of a training gives them."""
    torch.manual_seed(0)
    return MODELS.build(model)


def teacher_of(config: dict):
    """After the student, as a training builds it: random weights follow from the order."""
    return built(small_model(teacher=config)).teacher


def asks(model):
    return lambda images: model.teacher.look(images.float() / 255, model.teacher_blocks, model.needs_class_token)


@pytest.fixture(scope='module')
def cached(tmp_path_factory, frames_dir) -> dict:
    """Config of a cached teacher with a further block and the class token, batches as two frames have them."""
    model = built(small_model(auxiliaries=[BLOCK, TOKEN]))
    folder = tmp_path_factory.mktemp('cache')
    identity = teacher_identity(TEACHER, model.teacher)
    write_cache(folder, frames_dir, asks(model), teacher=identity, batch_size=4, shard_size=4)
    return dict(type='CachedTeacher', teacher=TEACHER, cache=str(folder))


def scans_of(frames_dir, cache: str | None, superpixels) -> list[dict]:
    pipeline = [*small_pipeline()]
    if cache:
        pipeline[1] = dict(type='LoadTeacherFeatures', cache=cache, data_root=str(frames_dir), size_hw=SIZE_HW)
    pipeline.insert(2, dict(SUPERPIXELS, cache_dir=str(superpixels)))
    dataset = DATASETS.build(small_dataset(frames_dir, pipeline=pipeline))
    return [dataset[0], dataset[1]]


METHODS = dict(
    cleverdistiller=small_model(auxiliaries=[BLOCK, TOKEN]),
    ppkt=dict({key: small_model()[key] for key in ('teacher', 'student')}, type='PPKT', **CONTRASTIVE),
    slidr=dict({key: small_model()[key] for key in ('teacher', 'student')}, type='SLidR', **CONTRASTIVE),
)


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('method', METHODS)
def test_the_losses_and_gradients_are_those_from_images_rounded_alike(method, cached, frames_dir, tmp_path):
    found = []
    for teacher, cache in ((dict(TEACHER, half_features=True), None), (cached, cached['cache'])):
        model = built(dict(METHODS[method], teacher=teacher))
        scans = scans_of(frames_dir, cache, tmp_path)
        assert ('images' in scans[0]['inputs']) == (cache is None)
        torch.manual_seed(1)
        losses = model(**model.data_preprocessor(pseudo_collate(scans), True), mode='loss')
        model.parse_losses(losses)[0].backward()
        found.append((losses, next(model.student.parameters()).grad))
    (images, gradient), (cache, cached_gradient) = found
    assert images.keys() == cache.keys() and images['loss_distill'] > 0
    # Four images at once here and in the cache: the same bits.
    assert all(torch.equal(images[name], cache[name]) for name in images)
    assert torch.equal(gradient, cached_gradient) and gradient.any()


def test_half_features_are_the_rounded_ones():
    plain, half = (built(dict(TEACHER, half_features=rounded)) for rounded in (False, True))
    images = torch.rand(2, 3, *SIZE_HW)
    said, rounded = (teacher.look(images, [-2], class_token=True).named() for teacher in (plain, half))
    assert said.keys() == rounded.keys() == {'patches', 'block_-2', 'class_token'}
    assert all(torch.equal(said[name].half(), rounded[name]) and said[name].dtype == torch.float32 for name in said)


@pytest.mark.needs_sparse_conv
def test_it_knows_the_teacher_s_sizes_and_holds_no_weights(cached):
    teacher, original = teacher_of(cached), built(TEACHER)
    assert teacher.embed_dim == original.embed_dim and teacher.image_size_hw == original.image_size_hw
    assert not teacher.state_dict() and not list(teacher.parameters()) and not teacher.training
    assert copy.deepcopy(teacher) is teacher


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize(
    'changes, named',
    [
        (dict(block=-2), ['block=-1', 'block=-2']),
        (dict(features='post_norm'), ["features='pre_norm'", "features='post_norm'"]),
        (dict(image_size_hw=(32, 64)), ['image_size_hw=[64, 128]', 'image_size_hw=[32, 64]']),
        (dict(arch=dict(depth=2)), ['arch.depth=2', 'weights_sha256=']),
        (dict(name='vit_tiny_patch16_224'), ["name='test_vit'", 'weights_sha256=']),
    ],
)
def test_another_teacher_is_refused_by_name(cached, changes, named):
    with pytest.raises(InputError) as error:
        teacher_of(dict(cached, teacher=dict(TEACHER, **changes)))
    assert all(text in str(error.value) for text in named) and 'tools/cache_teacher.py' in str(error.value)
    assert ('weights_sha256' in str(error.value)) == ('weights_sha256=' in named)


@pytest.mark.needs_sparse_conv
def test_one_bit_of_the_weights_is_another_teacher(cached):
    torch.manual_seed(1)
    with pytest.raises(InputError, match='weights_sha256'):
        MODELS.build(small_model(teacher=cached))
    original = built(TEACHER)
    before = original.weights_sha256()
    bias = original.vit.blocks[0].mlp.fc1.bias
    bias[0] = torch.nextafter(bias[0], bias[0] + 1)
    assert original.weights_sha256() != before


def test_options_that_do_not_change_what_is_said_are_no_part_of_it():
    teacher = built(TEACHER)
    spelled_out = dict(TEACHER, block=-1, features='pre_norm', half_features=True, weights='elsewhere/the_same.pth')
    assert teacher_identity(spelled_out, teacher) == teacher_identity(TEACHER, teacher)


def test_the_hash_is_that_of_the_weights_as_given():
    """The position table is interpolated in floating point: its last bits may be another machine's."""
    torch.manual_seed(0)
    teacher = TimmViTTeacher('vit_small_patch14_dinov2.lvd142m', 'random', (28, 56), arch=dict(depth=1))
    before = teacher.weights_sha256()
    teacher.vit.pos_embed.data += 1e-6
    assert teacher.weights_sha256() == before
    teacher.vit.cls_token.data += 1e-3
    assert teacher.weights_sha256() != before


@pytest.mark.needs_sparse_conv
def test_it_does_not_look_at_images(cached):
    teacher = teacher_of(cached)
    for ask in (teacher, teacher.look):
        with pytest.raises(InputError, match='LoadTeacherFeatures'):
            ask(torch.rand(1, 3, *SIZE_HW))


@pytest.mark.needs_sparse_conv
def test_features_without_what_is_asked_for_or_of_another_cache_are_refused(cached):
    teacher = teacher_of(cached)
    patches = torch.zeros(1, 8, 4, 8, dtype=torch.float16)
    right = TeacherFeatures(patches, {-2: patches}, cache_id=teacher.cache_id)
    assert teacher.recall(right, (-2,)) is right
    with pytest.raises(InputError, match=r'without block -1, class token'):
        teacher.recall(right, (-2, -1), class_token=True)
    with pytest.raises(InputError, match='of the cache abc'):
        teacher.recall(TeacherFeatures(patches, {}, cache_id='abc'))


@pytest.mark.needs_sparse_conv
def test_a_teacher_that_checked_nothing_takes_no_features(cached, frames_dir, tmp_path):
    model = built(small_model())
    scans = scans_of(frames_dir, cached['cache'], tmp_path)
    with pytest.raises(InputError, match=r'(?s)TimmViTTeacher, which has not checked.*--teacher-cache'):
        model(**model.data_preprocessor(pseudo_collate(scans), True), mode='loss')


@pytest.mark.needs_sparse_conv
def test_another_teacher_needs_images(cached, frames_dir, tmp_path):
    model = built(small_model(teacher=cached, auxiliaries=[ANOTHER]))
    assert model.needs_images
    scans = scans_of(frames_dir, cached['cache'], tmp_path)
    with pytest.raises(InputError, match='another_teacher with a batch of cached features'):
        model(**model.data_preprocessor(pseudo_collate(scans), True), mode='loss')


@pytest.mark.needs_sparse_conv
def test_images_of_another_size_are_told(frames_dir):
    model = built(small_model(teacher=dict(TEACHER, image_size_hw=(32, 64))))
    dataset = DATASETS.build(small_dataset(frames_dir))
    with pytest.raises(InputError, match=r'images of \(64, 128\) for a teacher of \(32, 64\)'):
        model(**model.data_preprocessor(pseudo_collate([dataset[0]]), True), mode='loss')
