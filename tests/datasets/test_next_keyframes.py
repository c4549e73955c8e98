import pickle

import mmengine
import numpy as np
import pytest
from mmdet3d.registry import DATASETS

from cleverdistiller.errors import InputError
from conftest import small_dataset
from temporal_frames import lidar2global_of, write_temporal_frames


@pytest.fixture
def frames(tmp_path):
    return write_temporal_frames(tmp_path / 'frames')


def build(frames, **options):
    return DATASETS.build(small_dataset(frames, **{'with_next_frame': True, **options}))


def test_the_next_frame_is_the_next_in_time_of_the_same_scene(frames):
    infos = [build(frames).get_data_info(row) for row in range(4)]
    assert [info['next_frame'] is None for info in infos] == [True, True, False, False]
    for row, following in ((2, 0), (3, 2)):
        next_frame = infos[row]['next_frame']
        assert next_frame['lidar_points'] == infos[following]['lidar_points']  # a whole path
        assert next_frame['next2lidar'].dtype == np.float64
        point = np.array([3.0, -2.0, 1.0, 1.0])
        np.testing.assert_allclose(
            lidar2global_of(row) @ next_frame['next2lidar'] @ point, lidar2global_of(following) @ point, atol=1e-9
        )


def test_thinning_leaves_the_next_keyframe_and_not_the_next_one_kept(frames):
    dataset = build(frames, num_frames=2, repeat=2)
    infos = [dataset.get_data_info(row) for row in range(4)]
    assert [info['token'] for info in infos] == ['frame0', 'frame3'] * 2
    assert infos[0]['next_frame'] is None
    assert infos[1]['next_frame']['lidar_points']['lidar_path'].endswith('2.bin')


def test_it_is_off_by_default(frames):
    assert 'next_frame' not in build(frames, with_next_frame=False).get_data_info(3)


@pytest.mark.parametrize(
    'change, named',
    [
        (lambda info: info.pop('scene_name'), 'scene_name'),
        (lambda info: info.pop('timestamp'), 'timestamp'),
        (lambda info: info.pop('ego2global'), 'ego2global'),
        (lambda info: info['lidar_points'].pop('lidar2ego'), 'lidar2ego'),
        (lambda info: info.update(ego2global=np.eye(3).tolist()), 'frame1'),
        (lambda info: info.update(ego2global=np.full((4, 4), np.nan).tolist()), 'not finite'),
    ],
)
def test_a_record_without_place_or_time_is_named_with_a_remedy(frames, change, named):
    infos = mmengine.load(frames / 'infos.pkl')
    change(infos['data_list'][1])
    (frames / 'infos.pkl').write_bytes(pickle.dumps(infos))
    build(frames, with_next_frame=False)
    with pytest.raises(InputError, match=named) as error:
        build(frames)
    assert 'frame1' in str(error.value) and 'prepare_nuscenes' in str(error.value)
