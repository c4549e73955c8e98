"""The Waymo detection dataset and its few-label lists, on a made-up info file."""

import json
import pickle

import numpy as np
import pytest
from mmdet3d.registry import DATASETS
from mmengine.config import Config

from cleverdistiller.datasets import WaymoDetectionDataset
from cleverdistiller.datasets.frame_list import FrameList
from cleverdistiller.errors import InputError
from conftest import REPO
from runs import run_script
from waymo_detection_set import CLASSES, FRAMES, SEGMENTS, write_set

CONFIG = REPO / 'configs/_base_/datasets/waymo_detection.py'


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Root and records; do not change the folder."""
    root = tmp_path_factory.mktemp('waymo')
    return root, write_set(root)


def build(root, **options):
    return WaymoDetectionDataset(**{'data_root': str(root), 'ann_file': 'waymo_infos_train.pkl', **options})


def ids_of(dataset):
    return [dataset.get_data_info(index)['frame_id'] for index in range(len(dataset))]


def configured(root, split, **options):
    """A dataset of the config, on the made-up set."""
    text = json.dumps(Config.fromfile(CONFIG)[f'{split}_dataloader']['dataset'])
    return DATASETS.build({**json.loads(text.replace('data/waymo_detection/', f'{root}/')), **options})


def test_a_sample_is_what_the_records_say(made):
    root, records = made
    dataset = build(root, test_mode=True)
    assert len(dataset) == len(records) and dataset.metainfo['classes'] == CLASSES
    for index, record in enumerate(records):
        sample = dataset.get_data_info(index)
        assert {key: sample[key] for key in ('frame_id', 'context_name', 'timestamp')}.items() <= record.items()
        assert sample['lidar_path'] == str(root / record['lidar_points']['lidar_path'])
        truth = sample['eval_ann_info']
        expected = [each['bbox_3d'] for each in record['instances']]
        np.testing.assert_allclose(truth['gt_bboxes_3d'].tensor, np.reshape(expected, (-1, 7)), rtol=1e-6)
        assert truth['gt_labels_3d'].tolist() == [each['bbox_label_3d'] for each in record['instances']]
        assert truth['difficulty'].tolist() == [each['difficulty'] for each in record['instances']]


def test_fewer_classes_have_their_own_labels(made):
    dataset = build(made[0], metainfo=dict(classes=('Car', 'Pedestrian')), test_mode=True)
    assert dataset.get_data_info(1)['eval_ann_info']['gt_labels_3d'].tolist() == [1, 0]
    assert dataset.num_ins_per_cat == [24, 24]


@pytest.mark.parametrize('split', ['train', 'val'])
def test_the_config_makes_samples_for_pointrcnn(made, split):
    root, records = made
    dataset = configured(root, split, ann_file='waymo_infos_train.pkl')
    sample = dataset[1]
    points, packed = sample['inputs']['points'], sample['data_samples']
    assert points.shape == (65536, 4) and points[:, 3].min() >= 0 and points[:, 3].max() <= 1
    assert packed.frame_id == records[1]['frame_id'] and packed.context_name == records[1]['context_name']
    if split == 'train':
        assert len(packed.gt_instances_3d) > len(records[1]['instances'])  # pasted ones, too
    else:
        stored = np.fromfile(root / records[1]['lidar_points']['lidar_path'], np.float32).reshape(-1, 5)
        found = {tuple(row) for row in points.numpy().round(4).tolist()}
        assert found == {tuple(row) for row in np.c_[stored[:, :3], np.tanh(stored[:, 3])].round(4).tolist()}


def test_a_stride_list_is_mmdet3ds_interval_and_holds_for_pasted_objects(made, tmp_path):
    root, _ = made
    run_script(
        REPO / 'tools/splits.py', root / 'waymo_infos_train.pkl', '--mode', 'stride', '--percent', 20, '--out', tmp_path
    )
    path = tmp_path / 'stride_20.json'
    by_interval = build(root, load_interval=5, filter_empty_gt=False, test_mode=True)
    assert ids_of(build(root, frame_list=str(path), test_mode=True)) == ids_of(by_interval)
    assert len(by_interval) == SEGMENTS * FRAMES // 5
    listed = FrameList.read(path)
    # Every fifth frame has no box, so that the list of others is shifted by hand.
    ids = sorted(record['frame_id'] for record in made[1])
    shifted = FrameList(**{**listed.__dict__, 'frames': tuple(ids[1::5])})
    shifted.write(path)
    dataset = configured(root, 'train', frame_list=str(path))
    sampler = next(step for step in dataset.pipeline.transforms if hasattr(step, 'db_sampler')).db_sampler
    pasted = {each['image_idx'] for found in sampler.db_infos.values() for each in found}
    assert pasted == set(shifted.frames) == set(ids_of(dataset))


def test_a_scene_list_holds_whole_segments(made, tmp_path):
    run_script(
        REPO / 'tools/splits.py',
        *(made[0] / 'waymo_infos_train.pkl', '--mode', 'scene', '--percent', 50, '--out', tmp_path),
    )
    frames = FrameList.read(tmp_path / 'scene_50.json').frames
    assert {frame.split('/')[0] for frame in frames} == {'segment1'} and len(frames) == FRAMES


@pytest.mark.parametrize(
    'options, said',
    [
        (dict(load_interval=0), 'load_interval=0'),
        (dict(load_interval=2, frame_list='list.json'), 'load_interval=2 and frame_list=list.json'),
        (dict(load_interval=20, pipeline=[dict(db_sampler={})]), '--mode stride --percent 5,'),
        (dict(pipeline=[dict(db_sampler=dict(classes=('Car', 'Cyclist')))]), 'Car, Cyclist for the pasted objects'),
        (dict(ann_file='other.pkl'), r'other\.pkl, which is not a file'),
        (dict(metainfo=dict(classes=('Car',)), load_interval=5), '6 frames without a Car'),
    ],
)
def test_what_cannot_be_trained_on_is_refused(made, options, said):
    with pytest.raises(InputError, match=said):
        build(made[0], **options)


def test_another_sets_info_file_is_refused(made, tmp_path):
    infos = pickle.loads((made[0] / 'waymo_infos_train.pkl').read_bytes())
    infos['metainfo']['dataset'] = 'waymo'
    (tmp_path / 'infos.pkl').write_bytes(pickle.dumps(infos))
    with pytest.raises(InputError, match=r'infos\.pkl of waymo for waymo_detection'):
        build(tmp_path, ann_file='infos.pkl')
