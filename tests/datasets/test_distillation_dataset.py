import pickle
import shutil

import mmengine
import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate

from cleverdistiller.datasets import DistillationDataset
from cleverdistiller.errors import InputError
from conftest import small_dataset, small_model, small_pipeline


@pytest.fixture
def frames(tmp_path, frames_dir):
    shutil.copytree(frames_dir, tmp_path / 'frames')
    return tmp_path / 'frames'


def edit_infos(frames, change) -> None:
    infos = mmengine.load(frames / 'infos.pkl')
    infos = change(infos) or infos
    (frames / 'infos.pkl').write_bytes(pickle.dumps(infos))


def test_a_sample_depends_on_seed_epoch_and_index_alone(frames_dir):
    dataset = DATASETS.build(small_dataset(frames_dir, repeat=2))
    dataset.set_epoch(7, 1)
    points = dataset[0]['inputs']['points']
    torch.rand(5), np.random.rand(5)
    assert torch.equal(dataset[0]['inputs']['points'], points)
    assert not torch.equal(dataset[4]['inputs']['points'], points)  # the same frame, repeated
    dataset.set_epoch(7, 2)
    assert not torch.equal(dataset[0]['inputs']['points'], points)
    dataset.set_epoch(8, 1)
    assert not torch.equal(dataset[0]['inputs']['points'], points)


def test_loading_leaves_the_main_generators_alone(frames_dir):
    dataset = DATASETS.build(small_dataset(frames_dir))
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    dataset[0]
    assert torch.equal(torch.rand(3), expected)


def test_persistent_workers_see_the_epoch_change(frames_dir):
    dataset = DATASETS.build(small_dataset(frames_dir))
    loader = torch.utils.data.DataLoader(dataset, 1, num_workers=1, persistent_workers=True, collate_fn=pseudo_collate)
    for epoch in (0, 1):
        dataset.set_epoch(0, epoch)
        batch = next(iter(loader))
        assert torch.equal(batch['inputs']['points'][0], dataset[0]['inputs']['points'])


def test_frames_are_thinned_evenly_and_repeated(frames_dir):
    tokens = [
        info['token']
        for info in map(DATASETS.build(small_dataset(frames_dir, num_frames=2, repeat=2)).get_data_info, range(4))
    ]
    assert tokens == ['frame0', 'frame3', 'frame0', 'frame3']


@pytest.mark.parametrize(
    'content, expected',
    [
        (dict(infos=[], metadata={}), 'another version'),
        ([1, 2], 'another version'),
        (dict(metainfo={}, data_list=[]), 'without frames'),
        (dict(metainfo={}, data_list=[dict(token='t')]), 'lidar_points'),
    ],
)
def test_an_info_file_of_another_version_is_named(frames, content, expected):
    (frames / 'infos.pkl').write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=expected) as error:
        DATASETS.build(small_dataset(frames))
    assert 'infos.pkl' in str(error.value) and 'rebuild' in str(error.value)


def test_a_truncated_or_missing_info_file_is_named(frames):
    (frames / 'infos.pkl').write_bytes((frames / 'infos.pkl').read_bytes()[:50])
    with pytest.raises(InputError, match='cannot be read'):
        DATASETS.build(small_dataset(frames))
    with pytest.raises(InputError, match=r'nowhere\.pkl'):
        DATASETS.build(small_dataset(frames, ann_file='nowhere.pkl'))


@pytest.mark.parametrize(
    'change',
    [
        lambda infos: infos['data_list'][1]['images'].pop('CAM_BACK') and None,
        lambda infos: infos['data_list'][1]['images']['CAM_BACK'].pop('cam2img') and None,
        lambda infos: infos['data_list'][1]['images']['CAM_BACK'].update(lidar2cam=np.full((4, 4), np.nan)),
    ],
)
def test_a_camera_without_calibration_is_named(frames, change):
    edit_infos(frames, change)
    with pytest.raises(InputError, match='frame1: CAM_BACK'):
        DATASETS.build(small_dataset(frames))


@pytest.mark.needs_sparse_conv
def test_a_second_dataset_is_one_class_and_one_config(frames):
    """One camera, images of another size, another record layout: DESIGN's promise for a new dataset."""

    @DATASETS.register_module(force=True)
    class YardDistillation(DistillationDataset):
        METAINFO = dict(cameras=('CAM_FRONT',))

        def parse_data_info(self, raw_data_info: dict) -> dict:
            record = dict(raw_data_info, images={'CAM_FRONT': raw_data_info['picture']})
            return super().parse_data_info(record)

    edit_infos(
        frames,
        lambda infos: dict(
            metainfo={},
            data_list=[
                dict(token=info['token'], lidar_points=info['lidar_points'], picture=info['images']['CAM_FRONT'])
                for info in infos['data_list']
            ],
        ),
    )
    dataset = DATASETS.build(
        dict(type='YardDistillation', data_root=str(frames), ann_file='infos.pkl', pipeline=small_pipeline())
    )
    model = MODELS.build(small_model())
    batch = model.data_preprocessor(pseudo_collate([dataset[0], dataset[1]]), True)
    assert len(batch['inputs'].images) == 2
    model.parse_losses(model(**batch, mode='loss'))[0].backward()
