import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import mmengine
import numpy as np
import pytest
from mmdet3d.datasets import Seg3DDataset
from mmdet3d.registry import DATASETS
from nuscenes.nuscenes import NuScenes
from pyquaternion import Quaternion

from cleverdistiller.datasets import info_file
from cleverdistiller.datasets.nuscenes_index import CAMERAS, SPLITS, TABLES
from cleverdistiller.errors import InputError
from conftest import REPO, small_pipeline
from nuscenes_root import write_nuscenes_root

PREFIX = dict(pts='samples/LIDAR_TOP', **{camera: f'samples/{camera}' for camera in CAMERAS})


@pytest.fixture(scope='module')
def tool():
    """``tools/prepare_nuscenes.py`` as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPO / 'tools'))
        yield importlib.import_module('prepare_nuscenes')


@pytest.fixture(scope='module')
def pristine(tmp_path_factory) -> Path:
    return write_nuscenes_root(tmp_path_factory.mktemp('nuscenes'), lidarseg=True)


@pytest.fixture
def root(pristine, tmp_path) -> Path:
    """A root of its own for each test."""
    return Path(shutil.copytree(pristine, tmp_path / 'root'))


@pytest.fixture
def prepare(tool, root):
    return lambda **options: tool.prepare(root, **{'version': 'v1.0-mini', **options})


def frames_of(path: Path) -> list[dict]:
    return mmengine.load(path)['data_list']


def carry(nusc: NuScenes, point: np.ndarray, source: str, target: str) -> np.ndarray:
    """Slow twin: carry one point from a sensor to another, each at the time of its own sample_data."""
    for pose in poses(nusc, source):
        point = Quaternion(pose['rotation']).rotate(point) + pose['translation']
    for pose in reversed(poses(nusc, target)):
        point = Quaternion(pose['rotation']).inverse.rotate(point - pose['translation'])
    return point


def poses(nusc: NuScenes, token: str) -> list[dict]:
    """Sensor to ego, ego to global."""
    record = nusc.get('sample_data', token)
    return [
        nusc.get('calibrated_sensor', record['calibrated_sensor_token']),
        nusc.get('ego_pose', record['ego_pose_token']),
    ]


def test_two_splits_of_two_frames(prepare, root):
    written = prepare()
    assert written == {root / 'nuscenes_infos_train.pkl': 2, root / 'nuscenes_infos_val.pkl': 2}
    train, val = map(frames_of, written)
    assert [frame['token'] for frame in train] == ['scene-0061-sample0', 'scene-0061-sample1']
    assert [frame['token'] for frame in val] == ['scene-0103-sample0', 'scene-0103-sample1']
    assert [frame['sample_idx'] for frame in train + val] == [0, 1, 0, 1]
    assert mmengine.load(root / 'nuscenes_infos_val.pkl')['metainfo'] == dict(
        dataset='nuscenes', version='v1.0-mini', info_version='1.1'
    )


def test_splits_are_the_official_ones():
    scenes = {version: {split: len(names) for split, names in named.items()} for version, named in SPLITS.items()}
    assert scenes == {
        'v1.0-trainval': dict(train=700, val=150),
        'v1.0-mini': dict(train=8, val=2),
        'v1.0-test': dict(test=150),
    }


def test_record_names_files_times_and_tokens(prepare, root):
    frame = frames_of(next(iter(prepare())))[1]
    time_us = 1532402927500000
    assert frame['timestamp'] == time_us / 1e6
    assert frame['lidar_points']['lidar_path'] == f'LIDAR_TOP-{time_us}.pcd.bin'
    assert frame['lidar_points']['num_pts_feats'] == 5
    assert frame['pts_semantic_mask_path'] == f'LIDAR_TOP-{time_us}_lidarseg.bin'
    assert list(frame['images']) == list(CAMERAS)
    for camera, image in frame['images'].items():
        assert image['img_path'] == f'{image["sample_data_token"]}.jpg'
        assert image['sample_data_token'] == f'{camera}-{round(image["timestamp"] * 1e6)}'
        assert image['cam2img'] == [[126.6, 0, 81.6], [0, 126.6, 42.9], [0, 0, 1]]
    # Newest first, down to the keyframe before.
    assert [sweep['lidar_points']['lidar_path'] for sweep in frame['lidar_sweeps']] == [
        f'sweeps/LIDAR_TOP/LIDAR_TOP-{time_us - 166000}.pcd.bin',
        f'sweeps/LIDAR_TOP/LIDAR_TOP-{time_us - 332000}.pcd.bin',
        f'samples/LIDAR_TOP/LIDAR_TOP-{time_us - 500000}.pcd.bin',
    ]
    assert frame['lidar_sweeps'][0]['timestamp'] == (time_us - 166000) / 1e6


def test_matrices_equal_the_slow_chain(prepare, root):
    nusc = NuScenes('v1.0-mini', str(root), verbose=False)
    points = np.random.default_rng(0).uniform(-40, 40, (4, 3))
    for frame in (frame for path in prepare() for frame in frames_of(path)):
        lidar = nusc.get('sample', frame['token'])['data']['LIDAR_TOP']
        assert_pose(frame['lidar_points']['lidar2ego'], poses(nusc, lidar)[0])
        assert_pose(frame['ego2global'], poses(nusc, lidar)[1])
        matrices = [(image['sample_data_token'], image['lidar2cam']) for image in frame['images'].values()]
        matrices += [
            (sweep['sample_data_token'], sweep['lidar_points']['lidar2sensor']) for sweep in frame['lidar_sweeps']
        ]
        for token, lidar2sensor in matrices:
            rotation, translation = np.array(lidar2sensor)[:3, :3], np.array(lidar2sensor)[:3, 3]
            for point in points:
                np.testing.assert_allclose(rotation @ point + translation, carry(nusc, point, lidar, token), atol=1e-9)
        for image in frame['images'].values():
            assert_pose(image['cam2ego'], poses(nusc, image['sample_data_token'])[0])
        for sweep in frame['lidar_sweeps']:
            assert_pose(sweep['lidar_points']['lidar2ego'], poses(nusc, sweep['sample_data_token'])[0])
            assert_pose(sweep['ego2global'], poses(nusc, sweep['sample_data_token'])[1])


def assert_pose(matrix: list[list[float]], pose: dict) -> None:
    """A 4x4 matrix puts the axes and the origin where the quaternion and the translation do."""
    for point in np.vstack([np.eye(3), np.zeros(3)]):
        expected = Quaternion(pose['rotation']).rotate(point) + pose['translation']
        np.testing.assert_allclose(np.array(matrix) @ [*point, 1], [*expected, 1], atol=1e-9)


def test_loads_as_distillation_dataset(prepare, root):
    prepare()
    dataset = DATASETS.build(
        dict(
            type='NuScenesDistillation',
            data_root=str(root),
            data_prefix=dict(PREFIX),
            ann_file='nuscenes_infos_train.pkl',
            pipeline=small_pipeline(),
        )
    )
    assert len(dataset) == 2
    sample = dataset[1]
    assert sample['inputs']['images'].shape == (6, 3, 64, 128)
    assert sample['inputs']['pairs'].image_index.unique().tolist() == list(range(6))
    assert sample['data_samples'].metainfo['camera_names'] == list(CAMERAS)


class OneClass(Seg3DDataset):
    """The least that mmdet3d's segmentation base class needs of a subclass."""

    METAINFO = dict(classes=('all',), palette=[[0, 0, 0]], seg_valid_class_ids=(0,), seg_all_class_ids=(0,))

    def get_seg_label_mapping(self, metainfo: dict) -> None:
        return None


def test_loads_as_mmdet3d_datasets(prepare, root):
    prepare()
    common = dict(data_root=str(root), ann_file='nuscenes_infos_train.pkl', pipeline=[], test_mode=True)
    frame = DATASETS.build(
        dict(common, type='NuScenesDataset', load_eval_anns=False, data_prefix=dict(PREFIX, sweeps='sweeps/LIDAR_TOP'))
    )[1]
    assert len(frame['lidar_sweeps']) == 3
    assert all(Path(sweep['lidar_points']['lidar_path']).is_file() for sweep in frame['lidar_sweeps'])
    frame = OneClass(
        **common,
        metainfo=dict(OneClass.METAINFO),
        data_prefix=dict(pts='samples/LIDAR_TOP', img='', pts_semantic_mask='lidarseg/v1.0-mini'),
    )[1]
    assert Path(frame['lidar_path']).is_file()
    assert Path(frame['pts_semantic_mask_path']).is_file()


def test_a_mask_of_another_length_than_its_sweep_is_named(prepare, root):
    mask = next((root / 'lidarseg/v1.0-mini').glob('*.bin'))
    mask.write_bytes(mask.read_bytes()[:-3])
    with pytest.raises(InputError, match=rf'1 bad files(?s:.*){mask.name} \(2877 labels for 2880 points\)'):
        prepare()


def test_no_lidarseg_no_mask(prepare, root):
    (root / 'v1.0-mini' / 'lidarseg.json').unlink()
    shutil.rmtree(root / 'lidarseg')
    assert all('pts_semantic_mask_path' not in frame for path in prepare() for frame in frames_of(path))


@pytest.mark.parametrize(
    'name, fault',
    [
        ('samples/LIDAR_TOP/*.bin', 'missing'),
        ('samples/CAM_BACK/*.jpg', 'missing'),
        ('sweeps/LIDAR_TOP/*.bin', 'missing'),
        ('lidarseg/v1.0-mini/*.bin', 'missing'),
        ('samples/CAM_FRONT/*.jpg', 'empty'),
        ('lidarseg/v1.0-mini/*.bin', 'empty'),
        ('samples/LIDAR_TOP/*.bin', 'truncated'),
        ('sweeps/LIDAR_TOP/*.bin', 'truncated'),
    ],
)
def test_bad_file_is_named_and_nothing_written(prepare, root, name, fault):
    victim = sorted(root.glob(name))[-1]
    content = victim.read_bytes()
    if fault == 'missing':
        victim.unlink()
    else:
        victim.write_bytes(content[:-3] if fault == 'truncated' else b'')
    with pytest.raises(InputError, match=r'1 bad files of') as error:
        prepare()
    assert f'{victim.relative_to(root)} ({fault}' in str(error.value)
    assert ('--max-sweeps 0' in str(error.value)) == name.startswith('sweeps')
    assert not list(root.glob('*infos*'))


def test_counts_all_and_names_five(prepare, root):
    for path in [*(root / 'samples' / 'CAM_BACK').iterdir(), *(root / 'samples' / 'CAM_FRONT').iterdir()]:
        path.unlink()
    with pytest.raises(InputError) as error:
        prepare()
    assert '8 bad files of 32' in str(error.value)
    assert str(error.value).count('(missing)') == 5


def test_keyframes_only_download(prepare, root):
    shutil.rmtree(root / 'sweeps')
    with pytest.raises(InputError, match=r'4 bad files .*(?s:.*)--max-sweeps 0'):
        prepare()
    written = prepare(max_sweeps=0)
    assert all(frame['lidar_sweeps'] == [] for path in written for frame in frames_of(path))


def test_out_and_prefix(prepare, root, tmp_path):
    assert set(prepare(out=tmp_path / 'a' / 'b', prefix='mini')) == set((tmp_path / 'a' / 'b').iterdir())
    assert (tmp_path / 'a' / 'b' / 'mini_infos_train.pkl').is_file()
    assert not list(root.glob('*infos*'))


def test_second_run_replaces_all_or_nothing(prepare, root, monkeypatch):
    old = {path: path.read_bytes() for path in prepare(max_sweeps=1)}
    calls = []

    def dump_once(content, file, protocol):
        file.write(b'half')
        calls.append(file)
        if len(calls) == 2:
            raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(info_file.pickle, 'dump', dump_once)
        with pytest.raises(InputError, match=r'No space left(?s:.*)--out'):
            prepare()
    assert {path: path.read_bytes() for path in old} == old
    prepare()
    assert all(path.read_bytes() != content for path, content in old.items())
    assert sorted(path.name for path in root.iterdir() if 'infos' in path.name) == [
        'nuscenes_infos_train.pkl',
        'nuscenes_infos_val.pkl',
    ]


@pytest.mark.parametrize('table', ['ego_pose', 'map'])
def test_missing_table(prepare, root, table):
    assert table in TABLES
    (root / 'v1.0-mini' / f'{table}.json').unlink()
    with pytest.raises(InputError, match=rf'v1.0-mini, without {table}.json'):
        prepare()


@pytest.mark.parametrize('table', ['sample_data', 'lidarseg'])
def test_truncated_table(prepare, root, table):
    path = root / 'v1.0-mini' / f'{table}.json'
    path.write_text(path.read_text()[:-40])
    with pytest.raises(InputError, match=rf'{table}.json, which is not JSON'):
        prepare()


def test_tables_of_another_download(prepare, root):
    path = root / 'v1.0-mini' / 'ego_pose.json'
    path.write_text(json.dumps(json.loads(path.read_text())[1:]))
    with pytest.raises(InputError, match=r'tables lack .LIDAR_TOP-1532402927000000'):
        prepare()


def test_devkit_refusals_are_clear(prepare, root):
    (root / 'maps' / 'yard.png').unlink()
    with pytest.raises(InputError, match=r'map mask .* does not exist'):
        prepare()


def test_scenes_of_no_split(prepare, root):
    (root / 'v1.0-mini').rename(root / 'v1.0-test')
    (root / 'lidarseg' / 'v1.0-mini').rename(root / 'lidarseg' / 'v1.0-test')
    path = root / 'v1.0-test' / 'lidarseg.json'
    path.write_text(path.read_text().replace('v1.0-mini', 'v1.0-test'))
    with pytest.raises(InputError, match=r'scene-0061(?s:.*)test split'):
        prepare(version='v1.0-test')


def test_negative_sweeps(prepare):
    with pytest.raises(InputError, match=r'--max-sweeps -1'):
        prepare(max_sweeps=-1)


def test_command_line(root):
    """One clear error and status 2 without a traceback; what main prints is in the next test."""
    victim = next((root / 'samples' / 'CAM_FRONT').iterdir())
    victim.unlink()
    tool = str(REPO / 'tools' / 'prepare_nuscenes.py')
    ran = subprocess.run([sys.executable, tool, str(root), '--version', 'v1.0-mini'], capture_output=True, text=True)
    assert ran.returncode == 2
    assert f'error: got: 1 bad files of 32 in {root}' in ran.stderr
    assert str(victim.relative_to(root)) in ran.stderr
    assert 'Traceback' not in ran.stderr


def test_main_prints_what_was_written(tool, root, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['prepare_nuscenes.py', str(root), '--version', 'v1.0-mini'])
    tool.main()
    assert f'2 frames: {root / "nuscenes_infos_val.pkl"}' in capsys.readouterr().out


def test_wrong_root(tool, tmp_path):
    with pytest.raises(InputError, match=r'nowhere/v1.0-trainval, without that folder'):
        tool.prepare(tmp_path / 'nowhere')
