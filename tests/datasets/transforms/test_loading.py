import numpy as np
import pytest
import torch
from PIL import Image

from cleverdistiller.datasets.transforms import LoadCameraImages, LoadLiDARSweep, LoadNextSweep, _doubts
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
        (lambda path: np.array([[1, np.nan, 2, 3, 4], [1, 2, 3, 4, np.nan]], np.float32).tofile(path), '1 of 2 points'),
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


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What loaders warn of."""
    lines = []
    monkeypatch.setattr(_doubts, 'print_log', lambda line, level, **_: lines.append(line))
    return lines


def cloud(columns: int = 5, points: int = 2000) -> np.ndarray:
    """Points all around, with the stored intensity 0 to 255."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform((-60, -60, -3), (60, 60, 4), (points, 3))
    return np.column_stack([xyz, rng.integers(0, 256, points), np.zeros((points, columns - 4))]).astype(np.float32)


def with_one(column: int, value: float) -> np.ndarray:
    points = cloud()
    points[7, column] = value
    return points


@pytest.mark.parametrize(
    'points, expected',
    [
        (with_one(0, 3.4e38), r'a coordinate of 3\.4e\+38 m'),
        (with_one(2, -1e6), r'a coordinate of 1e\+06 m'),
        (with_one(1, 5_400_000), r'a coordinate of 5\.4e\+06 m'),  # northing of a map
        (with_one(3, -np.inf), '1 of 2000 points that are NaN or infinite'),
        (with_one(3, -30), 'the intensity -30, as of columns'),
        (cloud(columns=4), 'columns that are not x, y, z, intensity'),  # 5 divides 2000 * 4
        (cloud(columns=6), 'columns that are not x, y, z, intensity'),
        (cloud().astype('>f4'), '(coordinate|NaN|columns)'),
        (cloud().astype(np.float64), '(coordinate|NaN|columns)'),
    ],
)
@pytest.mark.parametrize('loader', [LoadLiDARSweep, LoadNextSweep])
def test_values_that_no_sensor_gives_are_refused_by_file(tmp_path, said, loader, points, expected):
    points.tofile(tmp_path / 'sweep.bin')
    with pytest.raises(InputError, match=rf'sweep\.bin with .*{expected}(.|\n)*remedy(.|\n)*load_dim'):
        loader()._load_points(str(tmp_path / 'sweep.bin'))
    assert said == []


@pytest.mark.parametrize(
    'change, scale, expected',
    [
        ((1000, 1000, 1000, 1, 1), 1 / 255, ['metres are expected, not millimetres']),
        ((1, 1, 1, 257, 1), 1 / 255, ['intensities up to 65535 instead of 255']),
        ((1, 1, 1, 1, 1), 1.0, ['intensities up to 255 instead of 1,']),
        ((1, 1, 1, 1 / 255, 1), 1 / 255, ['intensities up to 1 only, of 255']),
        ((1, 1, 1, -1 / 255, 1), 1.0, ['which is negative']),
        ((40, 1, 1, 1, 1), 1.0, ['not millimetres', 'instead of 1,']),
        ((1, 1, 1, 1, 1), 1 / 255, []),
        ((1, 1, 1, 0, 1), 1 / 255, []),  # a sensor without intensity
    ],
)
def test_unlikely_values_are_said_once_by_file(tmp_path, said, change, scale, expected):
    loader = LoadLiDARSweep(intensity_scale=scale)
    for name in ('a.bin', 'b.bin'):
        (cloud() * np.float32(change)).tofile(tmp_path / name)
        loader(sweep_info(tmp_path / name))
    assert len(said) == len(expected) and all('a.bin' in line for line in said)
    assert all(any(part in line for line in said) for part in expected)


def test_waymo_s_intensity_has_no_scale_to_go_beyond(tmp_path, said):
    (cloud() * np.float32([1, 1, 1, 100, 1])).tofile(tmp_path / 'a.bin')
    found = LoadLiDARSweep(norm_intensity=True, intensity_scale=1.0)(sweep_info(tmp_path / 'a.bin'))
    assert said == [] and found['points'].tensor[:, 3].max() <= 1


def ramp(most: int) -> np.ndarray:
    return np.tile(np.linspace(0, most, 320), (180, 1))


@pytest.mark.parametrize('name', ['grey.png', 'grey.tif', 'grey.pgm'])
def test_sixteen_bits_are_scaled_by_their_own_range(tmp_path, said, name):
    path = tmp_path / name
    greys = ramp(65535).astype(np.uint16)
    if name.endswith('.pgm'):
        path.write_bytes(b'P5 320 180 65535\n' + greys.astype('>u2').tobytes())
    else:
        Image.fromarray(greys).save(path)
    loaded = LoadCameraImages(size_hw=(90, 160))(image_info(path))['img'][0].astype(float)
    expected = ramp(255)[:90, ::2]
    assert np.abs(loaded - expected[..., None]).max() < 3 and said == []


def test_eight_bits_stay_as_they_are(tmp_path):
    Image.fromarray(ramp(255).astype(np.uint8)).save(tmp_path / 'grey.png')
    loaded = LoadCameraImages(size_hw=(180, 320))(image_info(tmp_path / 'grey.png'))['img'][0]
    np.testing.assert_array_equal(loaded, np.repeat(ramp(255).astype(np.uint8)[..., None], 3, 2))


@pytest.mark.parametrize('dtype', [np.float32, np.int32])
def test_images_whose_range_nothing_tells_are_refused_by_file(tmp_path, dtype):
    path = tmp_path / 'thermal.tif'
    Image.fromarray(ramp(255).astype(dtype)).save(path)
    with pytest.raises(InputError, match=r'thermal\.tif with pixels of mode [FI] (.|\n)*remedy: scale it to 0\.\.255'):
        LoadCameraImages()(image_info(path))


@pytest.mark.parametrize('most, least, word', [(4095, 0, 'black: values of 12 bits in 16'), (65535, 64000, 'white')])
def test_an_image_on_which_nothing_is_to_be_seen_is_said_once(tmp_path, said, most, least, word):
    loader = LoadCameraImages()
    for name in ('a.png', 'b.png'):
        Image.fromarray(ramp(most).clip(least).astype(np.uint16)).save(tmp_path / name)
        loader(image_info(tmp_path / name))
    assert len(said) == 1 and 'a.png' in said[0] and word in said[0]
