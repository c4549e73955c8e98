import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS
from PIL import Image

from cleverdistiller.datasets.transforms.load_masked_image import patch_shares
from cleverdistiller.errors import InputError
from masked_images import write_masked_images

SIZE_HW, PATCH = (28, 56), 14
LOAD = dict(type='LoadMaskedImage', size_hw=SIZE_HW)


@pytest.fixture
def root(tmp_path):
    return write_masked_images(tmp_path)


def build(root, **changes):
    return DATASETS.build(dict(dict(type='MaskedImages', data_root=str(root), pipeline=[LOAD]), **changes))


def test_whole_scenes_are_for_training_or_validation(root):
    train, val = build(root), build(root, part='val')
    names = [
        {info['frame_id'][:4] for info in (part.get_data_info(i) for i in range(len(part)))} for part in (train, val)
    ]
    assert names == [{'0000', '0001'}, {'0002'}] and (len(train), len(val)) == (4, 2)
    assert train.metainfo['classes'] == ('sky', 'road', 'car')


def test_a_sample_has_the_image_and_each_patch_s_shares(root):
    sample = build(root)[0]
    assert sample['inputs'].shape == (3, *SIZE_HW) and sample['inputs'].dtype == torch.uint8
    assert abs(sample['inputs'][:, :, :24].float().mean() - 90) < 3
    assert abs(sample['inputs'][:, :, 32:].float().mean() - 180) < 3
    shares = sample['data_samples'].gt_pts_seg.patch_share
    assert shares.tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]] * 2
    assert sample['data_samples'].eval_ann_info['pts_semantic_mask'].tolist() == [1, 1, 2, 2] * 2


def test_image_and_mask_are_mirrored_and_cropped_together(root):
    mirrored = build(root, pipeline=[dict(LOAD, hflip_prob=1.0)])[0]
    assert mirrored['data_samples'].eval_ann_info['pts_semantic_mask'].tolist() == [2, 2, 1, 1] * 2
    assert mirrored['inputs'][:, :, :24].float().mean() > 170
    dataset = build(root, pipeline=[dict(LOAD, min_crop=0.5)])
    borders = set()
    for epoch in range(8):
        dataset.set_epoch(0, epoch)
        sample = dataset[0]
        bright = (sample['inputs'][0].float().mean(0) > 135).float().mean()
        share = sample['data_samples'].gt_pts_seg.patch_share[:, 2].mean()
        assert abs(bright - share) < 0.04
        borders.add(round(float(share), 3))
    assert len(borders) > 4
    dataset.set_epoch(0, 7)
    assert torch.equal(dataset[0]['inputs'], sample['inputs'])  # decided by seed, epoch and index


def test_shares_equal_counting_one_by_one():
    ids = np.random.default_rng(0).integers(0, 5, (28, 42))
    found = patch_shares(ids, PATCH, 5)
    for row in range(2):
        for col in range(3):
            patch = ids[row * PATCH : (row + 1) * PATCH, col * PATCH : (col + 1) * PATCH]
            assert found[row, col].tolist() == pytest.approx([(patch == k).mean() for k in range(5)])


def spoil(what: str, root) -> None:
    first = root / 'masks' / '0000_0000_CAM_FRONT.png'
    if what == 'no classes':
        (root / 'classes.json').unlink()
    elif what == 'gap in classes':
        (root / 'classes.json').write_text('{"0": "sky", "2": "car"}')
    elif what == 'no mask':
        first.unlink()
    elif what == 'other size':
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(first)
    elif what == 'unknown class':
        Image.fromarray(np.full((56, 112), 9, np.uint8)).save(first)
    elif what == 'cut image':
        image = root / 'images' / '0000_0000_CAM_FRONT.jpg'
        image.write_bytes(image.read_bytes()[:300])


@pytest.mark.parametrize(
    'what, message',
    [
        ('no classes', 'no .*classes.json'),
        ('gap in classes', 'without a gap'),
        ('no mask', '1 images .* without mask, such as 0000_0000_CAM_FRONT'),
        ('other size', 'mask of the same size'),
        ('unknown class', 'ids below 3'),
        ('cut image', 'cannot be decoded'),
    ],
)
def test_a_damaged_set_is_named(root, what, message):
    spoil(what, root)
    with pytest.raises(InputError, match=f'(?s){message}'):
        build(root)[0]


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(part='test'), "part='test'"),
        (dict(val_scenes=3), '3 scenes .* val_scenes=3'),
        (dict(pipeline=[dict(LOAD, size_hw=(30, 56))]), 'multiples of patch_px=14'),
    ],
)
def test_bad_options_are_named(root, changes, message):
    with pytest.raises(InputError, match=message):
        build(root, **changes)


@pytest.mark.parametrize('mode', ['I;16', 'P'])
def test_masks_of_any_integers_are_read(root, mode):
    expected = build(root)[0]['data_samples'].gt_pts_seg.patch_share
    for path in (root / 'masks').iterdir():
        ids = np.array(Image.open(path))
        mask = Image.fromarray(ids.astype(np.uint16)) if mode == 'I;16' else Image.fromarray(ids, 'P')
        if mode == 'P':
            mask.putpalette([0] * 768)
        mask.save(path)
    assert torch.equal(build(root)[0]['data_samples'].gt_pts_seg.patch_share, expected)


@pytest.mark.parametrize('folder, mode', [('masks', 'RGB'), ('masks', 'F'), ('images', 'F'), ('images', 'I')])
def test_colours_and_floats_are_refused_by_file(root, folder, mode):
    for path in (root / folder).iterdir():
        image = Image.open(path).convert('L').convert(mode)
        image.save(path, format='PNG' if mode == 'RGB' else 'TIFF')
    with pytest.raises(InputError, match=rf'{folder}/.* with pixels of mode {mode}(.|\n)*remedy'):
        build(root)[0]
