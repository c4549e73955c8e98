"""Features in the place of images: the same keys, the same draws."""

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.transforms import LoadCameraImages, LoadTeacherFeatures
from cleverdistiller.errors import InputError
from conftest import small_dataset
from teacher_caches import SIZE_HW, see, write_cache


@pytest.fixture(scope='module')
def cache(tmp_path_factory, frames_dir) -> str:
    folder = tmp_path_factory.mktemp('cache')
    write_cache(folder, frames_dir)
    return str(folder)


@pytest.mark.parametrize('num_cams', [None, 1])
def test_all_but_the_pixels_are_as_with_images(cache, frames_dir, num_cams):
    frames = DATASETS.build(small_dataset(frames_dir, pipeline=[]))
    seen = set()
    for seed in range(12):
        found = []
        for loader in (
            LoadCameraImages(SIZE_HW, num_cams=num_cams),
            LoadTeacherFeatures(cache, str(frames_dir), SIZE_HW, num_cams=num_cams),
        ):
            np.random.seed(seed)
            results = loader(frames.get_data_info(seed % 4))
            found.append((results, np.random.rand()))
        (images, after), (features, cached_after) = found
        assert after == cached_after  # what comes next in the pipeline draws the same
        assert features.keys() ^ images.keys() == {'img', 'teacher_features'}
        for key in ('cam2img', 'lidar2cam', 'native_size_hw', 'img_hflip'):
            np.testing.assert_array_equal(features[key], images[key])
            assert features[key].dtype == images[key].dtype
        assert features['camera_names'] == images['camera_names']
        assert tuple(features['input_size_hw']) == tuple(images['input_size_hw']) == images['img'].shape[1:3]
        pixels = torch.from_numpy(images['img']).permute(0, 3, 1, 2)
        assert torch.equal(features['teacher_features'].patches, see(pixels).patches.half())
        seen.add(tuple(features['camera_names']))
    assert len(seen) == (1 if num_cams is None else 2)


def test_mirroring_and_another_size_are_refused(cache, frames_dir):
    with pytest.raises(InputError, match=r'(?s)hflip_prob=0.5.*hflip_prob=0'):
        LoadTeacherFeatures(cache, str(frames_dir), SIZE_HW, hflip_prob=0.5)
    with pytest.raises(InputError, match=r'(?s)64, 128.*224, 448'):
        LoadTeacherFeatures(cache, str(frames_dir))


def test_other_pixels_are_refused(cache, frames_dir, monkeypatch):
    monkeypatch.setattr(f'{LoadCameraImages.__module__}.HOW', 'another decoder')
    with pytest.raises(InputError, match=r'(?s)Pillow.*another decoder'):
        LoadTeacherFeatures(cache, str(frames_dir), SIZE_HW)
