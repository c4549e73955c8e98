"""Superpixels are computed once, verified on read, and computed again when damaged or outdated."""

import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmdet3d.registry import DATASETS
from mmengine.dataset import pseudo_collate
from PIL import Image

from cleverdistiller.datasets import superpixel_cache
from cleverdistiller.datasets.superpixel_cache import (
    SlicSettings,
    SuperpixelCache,
    is_whole_png,
    read_superpixels,
    write_superpixels,
)
from cleverdistiller.datasets.transforms import LoadCameraImages, LoadSuperpixels
from cleverdistiller.errors import InputError
from cleverdistiller.models.data_preprocessors import DistillationDataPreprocessor
from cleverdistiller.ops.superpixels import resize_nearest, slic_superpixels
from conftest import CAMERAS, small_dataset, small_pipeline

FEW = dict(num_segments=12, compactness=6.0, sigma=1.0)


@pytest.fixture
def root(tmp_path, frames_dir) -> Path:
    """A data set of one image."""
    (tmp_path / 'set').mkdir()
    shutil.copy(frames_dir / 'CAM_FRONT_0.jpg', tmp_path / 'set' / 'image.jpg')
    return tmp_path / 'set'


@pytest.fixture
def logged(monkeypatch) -> list[str]:
    """Lines that the cache logs."""
    lines = []
    monkeypatch.setattr(superpixel_cache, 'print_log', lambda line, **_: lines.append(line))
    return lines


@pytest.fixture
def made(monkeypatch) -> list[tuple]:
    """Shapes of the images that SLIC was asked to cut."""
    shapes = []

    def counting(image, **settings):
        shapes.append(image.shape)
        return slic_superpixels(image, **settings)

    monkeypatch.setattr(superpixel_cache, 'slic_superpixels', counting)
    return shapes


def cache_in(root: Path, **settings) -> SuperpixelCache:
    return SuperpixelCache(root / 'superpixels', SlicSettings(**dict(FEW, **settings)))


def load(root: Path, **settings) -> np.ndarray:
    return cache_in(root, **settings).load(str(root / 'image.jpg'))


def expected(image: Path) -> np.ndarray:
    return slic_superpixels(np.asarray(Image.open(image)), **FEW)


def test_computed_once_at_the_stored_size(root, made, logged):
    first, second = load(root), load(root)
    assert made == [(90, 160, 3)] and not logged
    np.testing.assert_array_equal(first, expected(root / 'image.jpg'))
    np.testing.assert_array_equal(first, second)
    assert first.dtype == second.dtype == np.uint8 and len(np.unique(first)) > 6
    (kept,) = root.rglob('*.png')
    with Image.open(kept) as image:
        assert image.info['settings'] == '{"compactness": 6.0, "num_segments": 12.0, "sigma": 1.0}'
        assert len(image.info['image_sha256']) == 64 and image.info['Software'].startswith('scikit-image')


def test_any_flipped_byte_and_any_missing_end_is_noticed(tmp_path):
    path, pixels = tmp_path / 'small.png', np.random.randint(0, 9, (8, 12)).astype(np.uint8)
    made_from = dict(settings='some', image_sha256='hash')
    write_superpixels(path, pixels, made_from)
    whole = path.read_bytes()
    found, found_from = read_superpixels(path)
    np.testing.assert_array_equal(found, pixels)
    assert found_from == made_from
    for place, byte in enumerate(whole):
        for bits in (0x01, 0x20, 0xFF):
            assert not is_whole_png(whole[:place] + bytes([byte ^ bits]) + whole[place + 1 :])
        assert not is_whole_png(whole[:place])
    assert not is_whole_png(whole + whole)


@pytest.mark.parametrize(
    'damage',
    [
        lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
        lambda content: content[:-80] + bytes([content[-80] ^ 1]) + content[-79:],
        lambda content: content[: len(content) // 2],
        lambda content: b'',
    ],
)
def test_a_damaged_file_is_made_again_with_one_line(root, made, logged, damage):
    first = load(root)
    (kept,) = root.rglob('*.png')
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    np.testing.assert_array_equal(load(root), first)
    np.testing.assert_array_equal(load(root), first)
    assert len(made) == 2 and kept.read_bytes() == whole
    (line,) = logged
    assert kept.name in line and 'damaged' in line


def test_another_image_under_the_same_name_is_cut_anew(root, frames_dir, made, logged):
    first = load(root)
    shutil.copy(frames_dir / 'CAM_BACK_1.jpg', root / 'image.jpg')
    second = load(root)
    assert not np.array_equal(first, second) and len(list(root.rglob('*.png'))) == 1
    np.testing.assert_array_equal(second, expected(root / 'image.jpg'))
    np.testing.assert_array_equal(load(root), second)
    assert len(made) == 2 and len(logged) == 1 and 'another image' in logged[0]


def test_other_settings_have_files_of_their_own(root, made, logged):
    for settings in (dict(), dict(num_segments=20), dict(compactness=9.0), dict(sigma=0.5), dict()):
        load(root, **settings)
    assert len(made) == len(list(root.rglob('*.png'))) == 4 and not logged


def test_a_file_in_the_place_of_another_is_not_taken_for_it(root, made, logged):
    first = load(root)
    load(root, num_segments=20)
    mine, other = (cache_in(root, num_segments=n).path_of(str(root / 'image.jpg')) for n in (12, 20))
    shutil.copy(other, mine)
    np.testing.assert_array_equal(load(root), first)
    write_superpixels(mine, first[:-1], read_superpixels(mine)[1])  # whole, of the same image, but not of its shape
    np.testing.assert_array_equal(load(root), first)
    assert len(made) == 4 and len(logged) == 2


def test_a_data_set_can_be_moved_or_copied_with_its_superpixels(root, tmp_path, monkeypatch, made):
    first = load(root)
    shutil.copytree(root, tmp_path / 'elsewhere' / 'copy')  # with other times of change
    np.testing.assert_array_equal(load(tmp_path / 'elsewhere' / 'copy'), first)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(load(Path('set')), first)
    assert len(made) == 1


def write_half_and_die(image: Image.Image, file, **_) -> None:
    Path(file).write_bytes(b'\x89PNG half of it')
    os._exit(9)


def test_a_killed_writer_leaves_nothing_half_written(root, made, logged):
    context = multiprocessing.get_context('fork')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image.Image, 'save', write_half_and_die)
        writer = context.Process(target=load, args=(root,))
        writer.start()
        writer.join()
    assert writer.exitcode == 9 and not list(root.rglob('[!.]*.png'))
    np.testing.assert_array_equal(load(root), expected(root / 'image.jpg'))
    assert not logged


def test_many_workers_may_write_the_same_file_at_once(root):
    with multiprocessing.get_context('fork').Pool(4) as pool:
        found = pool.map(load, [root] * 8, chunksize=1)
    for superpixels in found:
        np.testing.assert_array_equal(superpixels, expected(root / 'image.jpg'))
    assert [path.suffix for path in root.rglob('*') if path.is_file()].count('.png') == 1


def test_what_a_user_can_mend_is_said(root):
    (root / 'superpixels').touch()
    with pytest.raises(InputError, match=r'(?s)cannot be written.*cache_dir'):
        load(root)
    (root / 'superpixels').unlink()
    whole = (root / 'image.jpg').read_bytes()
    for content in (b'no picture', whole[:700]):
        (root / 'image.jpg').write_bytes(content)
        with pytest.raises(InputError, match=r'image\.jpg, which cannot be decoded'):
            load(root)
    (root / 'image.jpg').unlink()
    with pytest.raises(InputError, match=r'image\.jpg'):
        load(root)
    for wrong in (dict(num_segments=0), dict(num_segments=256), dict(compactness=0), dict(sigma=-1)):
        with pytest.raises(InputError, match='num_segments between 1 and 255'):
            LoadSuperpixels(str(root), **wrong)


def test_of_the_cameras_that_were_loaded_and_mirrored_as_they_are(frames_dir, tmp_path):
    record = dict(cam2img=np.eye(3), lidar2cam=np.eye(4))
    images = {f'CAM{i}': dict(record, img_path=str(frames_dir / f'{CAMERAS[i % 2]}_{i // 2}.jpg')) for i in range(8)}
    transform = LoadSuperpixels(str(tmp_path), **FEW)
    seen = set()
    for _ in range(6):
        results = transform(LoadCameraImages((64, 128), num_cams=3, hflip_prob=0.5)(dict(images=images)))
        assert results['superpixels'].shape == (3, 64, 128) and results['superpixels'].dtype == np.uint8
        for camera, flip, found in zip(results['camera_names'], results['img_hflip'], results['superpixels']):
            plain = resize_nearest(expected(Path(images[camera]['img_path'])), (64, 128))
            np.testing.assert_array_equal(found, plain[:, ::-1] if flip else plain)
            seen.add((bool(flip), camera))
    assert len(seen) > 8


def test_a_pipeline_that_has_to_compute_says_so_once(root, monkeypatch):
    lines = []
    monkeypatch.setattr(f'{LoadSuperpixels.__module__}.print_log', lambda line, **_: lines.append(line))
    frame = dict(images=dict(CAM=dict(img_path=str(root / 'image.jpg'))), camera_names=['CAM'])
    frame.update(input_size_hw=(64, 128), img_hflip=[False])
    for sigma in (1.0, 2.0):
        transform = LoadSuperpixels(str(root / 'superpixels'), **dict(FEW, sigma=sigma))
        transform(dict(frame))
        transform(dict(frame))
    assert len(lines) == 2 and all('tools/superpixels.py' in line for line in lines)
    LoadSuperpixels(str(root / 'superpixels'), **FEW)(dict(frame))
    assert len(lines) == 2


@pytest.mark.parametrize('mix3d_prob', [0.0, 1.0])
def test_a_batch_keeps_them_beside_their_images(frames_dir, tmp_path, mix3d_prob):
    pipeline = small_pipeline()
    pipeline.insert(2, dict(type='LoadSuperpixels', cache_dir=str(tmp_path), **FEW))
    dataset = DATASETS.build(small_dataset(frames_dir, pipeline=pipeline))
    scans = [dataset[i] for i in range(3)]
    batch = DistillationDataPreprocessor(0.2, mix3d_prob)(pseudo_collate(scans), True)['inputs']
    assert batch.superpixels.shape == (6, 64, 128) and len(batch.images) == 6
    for number, found in enumerate(batch.superpixels):
        path = frames_dir / f'{CAMERAS[number % 2]}_{number // 2}.jpg'
        np.testing.assert_array_equal(found.numpy(), resize_nearest(expected(path), (64, 128)))
