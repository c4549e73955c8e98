import numpy as np
import pytest
import torch
from PIL import Image

from cleverdistiller.datasets.transforms import LoadCameraImages, LoadLiDARSweep
from cleverdistiller.errors import InputError
from conftest import CAMERAS


def sweep_info(path) -> dict:
    return dict(lidar_points=dict(lidar_path=str(path)))


def image_info(*paths) -> dict:
    record = dict(cam2img=np.eye(3), lidar2cam=np.eye(4))
    return dict(images={f'CAM{i}': dict(record, img_path=str(path)) for i, path in enumerate(paths)})


def test_a_sweep_keeps_metres_and_scales_intensity(frames_dir):
    stored = np.fromfile(frames_dir / '0.bin', np.float32).reshape(-1, 5)
    points = LoadLiDARSweep()(sweep_info(frames_dir / '0.bin'))['points'].tensor.numpy()
    np.testing.assert_array_equal(points[:, :3], stored[:, :3])
    np.testing.assert_allclose(points[:, 3], stored[:, 3] / 255, rtol=1e-6)


@pytest.mark.parametrize(
    'damage, expected',
    [
        (lambda path: path.unlink(), 'cannot be read'),
        (lambda path: path.write_bytes(path.read_bytes()[:1001]), 'sweep.bin'),  # not even whole floats
        (lambda path: path.write_bytes(path.read_bytes()[:1004]), 'with 251 floats'),
        (lambda path: path.write_bytes(b''), 'without points'),
        (lambda path: np.array([[1, np.nan, 2, 3, 4], [1, 2, 3, 4, np.nan]], np.float32).tofile(path), '1 points'),
    ],
)
def test_a_bad_sweep_is_named_with_a_remedy(tmp_path, frames_dir, damage, expected):
    path = tmp_path / 'sweep.bin'
    path.write_bytes((frames_dir / '0.bin').read_bytes())
    damage(path)
    with pytest.raises(InputError, match=expected) as error:
        LoadLiDARSweep()(sweep_info(path))
    assert 'sweep.bin' in str(error.value) and 'remedy' in str(error.value)


def test_images_are_resized_rgb_with_their_native_size(frames_dir):
    paths = [frames_dir / f'{camera}_0.jpg' for camera in CAMERAS]
    results = LoadCameraImages(size_hw=(64, 128))(image_info(*paths))
    assert results['img'].shape == (2, 64, 128, 3) and results['img'].dtype == np.uint8
    assert results['native_size_hw'].tolist() == [[90, 160]] * 2
    whole = Image.open(paths[0]).convert('RGB').resize((128, 64), Image.Resampling.BILINEAR)
    assert np.abs(results['img'][0].astype(int) - np.asarray(whole)).mean() < 3


def test_reduced_decoding_stays_close_to_whole_decoding(keyframe_dir):
    path = next(keyframe_dir.glob('*CAM_FRONT__*.jpg'))
    results = LoadCameraImages(size_hw=(224, 448))(image_info(path))
    whole = Image.open(path).convert('RGB').resize((448, 224), Image.Resampling.BILINEAR)
    difference = np.abs(results['img'][0].astype(int) - np.asarray(whole))
    assert difference.mean() < 2 and results['native_size_hw'].tolist() == [[900, 1600]]


def test_a_random_subset_of_cameras_and_mirroring(frames_dir):
    paths = [frames_dir / f'{camera}_{frame}.jpg' for camera in CAMERAS for frame in range(4)]
    names = {tuple(LoadCameraImages(num_cams=1)(image_info(*paths))['camera_names']) for _ in range(60)}
    assert names == {(f'CAM{i}',) for i in range(8)}
    plain = LoadCameraImages(size_hw=(64, 128))(image_info(paths[0]))
    mirrored = LoadCameraImages(size_hw=(64, 128), hflip_prob=1.0)(image_info(paths[0]))
    np.testing.assert_array_equal(mirrored['img'], plain['img'][:, :, ::-1])
    assert mirrored['img_hflip'].all() and not plain['img_hflip'].any()


@pytest.mark.parametrize(
    'damage',
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:700]),
        lambda path: path.write_bytes(b'no picture'),
    ],
)
def test_an_unreadable_image_is_named_with_a_remedy(tmp_path, frames_dir, damage):
    path = tmp_path / 'camera.jpg'
    path.write_bytes((frames_dir / 'CAM_FRONT_0.jpg').read_bytes())
    damage(path)
    with pytest.raises(InputError, match='remedy') as error:
        LoadCameraImages()(image_info(path))
    assert 'camera.jpg' in str(error.value)


def test_loaded_tensors_are_writable(frames_dir):
    points = LoadLiDARSweep()(sweep_info(frames_dir / '0.bin'))['points'].tensor
    points += torch.ones(4)  # augmentation works in place
