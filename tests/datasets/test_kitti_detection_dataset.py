"""KITTI for detectors: which frames, under which names, and pasted objects of no other frame."""

import pickle
import shutil
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, TRANSFORMS
from mmengine.config import Config

from cleverdistiller.datasets.frame_list import FrameList, fingerprint
from cleverdistiller.errors import InputError
from conftest import REPO
from kitti_root import ALL, write_kitti_root
from runs import run_script

FRAMES = {f'{10 * number:06d}': ALL for number in range(1, 7)} | {'000070': ('Van',), '000080': ()}


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    """A prepared root; do not change the folder, copy it."""
    root = write_kitti_root(tmp_path_factory.mktemp('kitti'), dict(train=FRAMES, val={'000004': ALL, '000005': ()}))
    run_script(REPO / 'tools' / 'prepare_kitti.py', root)
    return root


def write_list(path: Path, *frames: str, of=tuple(FRAMES)) -> str:
    whole = dict(dataset='kitti', of=len(of), fingerprint=fingerprint(of))
    FrameList(mode='public', seed=0, percent='5', frames=frames, **whole).write(path)
    return str(path)


def config(root: Path, split: str = 'train', sampler: dict | None = None, **changes) -> dict:
    """The config of the base file, on a small root."""
    cfg = Config.fromfile(REPO / 'configs/_base_/datasets/kitti_detection.py').to_dict()
    dataset = dict(cfg[f'{split}_dataloader']['dataset'], data_root=str(root), **changes)
    for step in dataset['pipeline']:
        if step['type'] == 'ObjectSample':
            step['db_sampler'].update(
                data_root=str(root), info_path=str(root / 'kitti_dbinfos_train.pkl'), **(sampler or {})
            )
        if step['type'] == 'DetectionPointSample':
            step['num_points'] = 256
    return dataset


def build(root: Path, *args, **changes):
    return DATASETS.build(config(root, *args, **changes))


def names(dataset) -> list[str]:
    return [dataset.get_data_info(index)['frame_id'] for index in range(len(dataset))]


def pasted_frames(dataset) -> set[str]:
    """Frames that the objects of a dataset's sampler are of."""
    sampler = next(step.db_sampler for step in dataset.pipeline.transforms if hasattr(step, 'db_sampler'))
    return {one['image_idx'] for found in sampler.db_infos.values() for one in found}


def test_frames_keep_their_names(root):
    training, validation = build(root), build(root, 'val')
    assert names(training) == list(FRAMES)
    sample = validation[1]
    assert sample['data_samples'].metainfo['frame_id'] == '000005' and sample['inputs']['points'].shape == (256, 4)
    assert sample['inputs']['points'][:, 3].max() <= 1
    assert len(validation[0]['data_samples'].eval_ann_info['gt_labels_3d']) == 3


def test_samples_have_pasted_objects_and_do_not_depend_on_what_was_drawn_before(root):
    first, second = build(root), build(root)
    second[4]
    one, other = first[2], second[2]
    assert torch.equal(one['inputs']['points'], other['inputs']['points'])
    labels = one['data_samples'].gt_instances_3d.labels_3d
    assert len(labels) > 3 and torch.equal(labels, other['data_samples'].gt_instances_3d.labels_3d)
    first.set_epoch(0, 1)
    assert not torch.equal(first[2]['inputs']['points'], one['inputs']['points'])


def test_a_frame_list_holds_for_frames_and_for_pasted_objects(root, tmp_path):
    path = write_list(tmp_path / 'few.json', '000020', '000050')
    dataset = build(root, frame_list=path)
    assert names(dataset) == ['000020', '000050'] == sorted(pasted_frames(dataset))
    full = build(root, frame_list=path, sampler=dict(gt_db='full'))
    assert len(full) == 2 and pasted_frames(full) == set(FRAMES) - {'000080'}
    assert pasted_frames(build(root)) == set(FRAMES) - {'000080'}


def test_any_subset_of_the_validation_frames(root):
    assert names(build(root, 'val', indices=[1])) == ['000005']


def test_lists_of_other_frames_and_samplers_of_other_lists_are_refused(root, tmp_path):
    few, other = (write_list(tmp_path / f'{name}.json', '000020') for name in ('few', 'other'))
    stranger = write_list(tmp_path / 'stranger.json', '000021', of=('000021', *list(FRAMES)[1:]))
    for changes, said in (
        (dict(frame_list=stranger), 'without any object in the frames of .*stranger.json'),
        (dict(frame_list=stranger, sampler=dict(gt_db='full')), 'of other frames, such as 000021'),
        (dict(frame_list=few, sampler=dict(frame_list=other)), 'other.json for the pasted objects'),
        (dict(frame_list=few, sampler=dict(type='DataBaseSampler')), 'the ground-truth sampler DataBaseSampler'),
    ):
        with pytest.raises(InputError, match=said):
            build(root, **changes)


def test_frames_without_objects(root, tmp_path):
    path = write_list(tmp_path / 'empty.json', '000070', '000080')
    with pytest.raises(InputError, match='2 frames without a Pedestrian or Cyclist or Car'):
        build(root, frame_list=path, sampler=dict(gt_db='full'))
    dataset = build(root, frame_list=path, sampler=dict(gt_db='full'), filter_empty_gt=False)
    for index in range(2):  # nothing of its own, but there is room for others
        assert len(dataset[index]['data_samples'].gt_instances_3d.labels_3d) > 0
    without = config(root, frame_list=path, filter_empty_gt=False)
    without['pipeline'] = [step for step in without['pipeline'] if step['type'] != 'ObjectSample']
    assert len(DATASETS.build(without)[1]['data_samples'].gt_instances_3d.labels_3d) == 0


def test_an_info_file_of_another_set_is_refused(root, tmp_path):
    infos = mmengine.load(root / 'kitti_infos_train.pkl')
    infos['metainfo']['dataset'] = 'waymo'
    (tmp_path / 'infos.pkl').write_bytes(pickle.dumps(infos))
    with pytest.raises(InputError, match=r'infos\.pkl of waymo for kitti'):
        build(root, ann_file=str(tmp_path / 'infos.pkl'))


def sampler_of(root: Path, **changes):
    return TRANSFORMS.build(dict(config(root)['pipeline'][2]['db_sampler'], **changes))


def test_an_absent_class_is_named(root, tmp_path):
    path = write_list(tmp_path / 'vans.json', '000070')
    for changes, said in (
        (dict(frame_list=path), 'kitti_dbinfos_train.pkl without a Car in the frames of .*vans.json'),
        (dict(sample_groups=dict(Tram=2), classes=('Car', 'Tram')), 'without a Tram in all frames'),
        (dict(prepare=dict(filter_by_min_points=dict(Car=10_000))), 'without a Car after filter_by_min_points'),
        (dict(gt_db='split0'), "'split' or 'full'"),
        (dict(info_path=str(tmp_path / 'none.pkl')), 'none.pkl, which is not a file'),
    ):
        with pytest.raises(InputError, match=said):
            sampler_of(root, **changes)
    assert sampler_of(root, frame_list=path, gt_db='full').db_infos['Car']


def test_a_class_without_any_object_can_be_left_out(root, tmp_path):
    database = mmengine.load(root / 'kitti_dbinfos_train.pkl')
    del database['Cyclist']
    path = tmp_path / 'db.pkl'
    path.write_bytes(pickle.dumps(database))
    with pytest.raises(InputError, match='leave Cyclist out of sample_groups or set it to 0'):
        sampler_of(root, info_path=str(path))
    for groups in (dict(Car=20, Pedestrian=15), dict(Car=20, Pedestrian=15, Cyclist=0)):
        sampler = sampler_of(root, info_path=str(path), sample_groups=groups)  # the filters still name Cyclist
        assert set(sampler.sample_all(np.zeros((0, 7)), np.zeros(0))['gt_labels_3d']) == {0, 2}
    with pytest.raises(InputError, match='filter_by_min_points with Cat'):
        sampler_of(root, prepare=dict(filter_by_min_points=dict(Cat=5)))


@pytest.mark.parametrize('harm', [0, 1, 40, -1, 'a field gone', 'no classes', 'no records'])
def test_a_damaged_database_is_named(root, tmp_path, harm):
    content = (root / 'kitti_dbinfos_train.pkl').read_bytes()
    database = pickle.loads(content)
    if harm == 'a field gone':
        del database['Car'][-1]['image_idx']
    elif harm == 'no records':
        database['Car'] = dict.fromkeys(range(3))
    elif harm == 'no classes':
        database = database['Car']
    (tmp_path / 'db.pkl').write_bytes(content[:harm] if isinstance(harm, int) else pickle.dumps(database))
    with pytest.raises(InputError, match=r'db\.pkl, which (cannot be read|is no ground)(?s:.*)remedy: make it again'):
        sampler_of(root, info_path=str(tmp_path / 'db.pkl'))


def test_pasted_objects_have_the_labels_of_the_dataset(root):
    cars = dict(metainfo=dict(classes=('Car',)), filter_empty_gt=False)
    for classes in (('Car',), None):
        dataset = build(root, sampler=dict(classes=classes, sample_groups=dict(Car=20, Cyclist=0)), **cars)
        assert set(dataset[0]['data_samples'].gt_instances_3d.labels_3d.tolist()) == {0}
    swapped = ('Car', 'Cyclist', 'Pedestrian')
    for changes, said in (
        (
            dict(metainfo=dict(classes=swapped)),
            'Car, Cyclist, Pedestrian for the frames and Pedestrian, Cyclist, Car for',
        ),
        (dict(sampler=dict(classes=swapped)), 'Car, Cyclist, Pedestrian for the pasted objects'),
        (dict(sampler=dict(classes=None), **cars), 'sample_groups with Pedestrian, Cyclist'),
    ):
        with pytest.raises(InputError, match=said):
            build(root, **changes)


def test_a_database_of_mmdet3ds_own_tool_is_refused(root, tmp_path):
    database = mmengine.load(root / 'kitti_dbinfos_train.pkl')
    database['Car'][0]['image_idx'] = 0
    (tmp_path / 'db.pkl').write_bytes(pickle.dumps(database))
    with pytest.raises(InputError, match=r'db.pkl, which names objects after places in a list'):
        sampler_of(root, info_path=str(tmp_path / 'db.pkl'))


@pytest.mark.filterwarnings('error:.*np.long')  # numpy 1.24 has none, numpy 1.23 warns of it
def test_pasted_objects_fill_up_to_the_wanted_number_without_collisions(root):
    sampler = sampler_of(root, sample_groups=dict(Car=2, Pedestrian=3))
    own = np.array([[200, 0, -1.7, 4, 2, 1.5, 0]], np.float32)
    for gt_bboxes, gt_labels in ((own, np.array([2])), (own[:0], np.array([], int))):
        counts = set()
        for _ in range(20):
            drawn = sampler.sample_all(gt_bboxes, gt_labels)
            labels, boxes = drawn['gt_labels_3d'], drawn['gt_bboxes_3d']
            assert boxes.shape == (len(labels), 7) and labels.dtype == np.int64
            counts |= {(name, int((labels == number).sum())) for name, number in dict(Car=2, Pedestrian=0).items()}
            points = drawn['points'].tensor.numpy()
            assert len(points) >= 30 * len(labels)
            far = np.abs(points[:, None, :2] - boxes[None, :, :2]).max(2).min(1)
            assert far.max() < 3  # each point near the box that it came with
            near = np.linalg.norm(boxes[:, None, :2] - boxes[None, :, :2], axis=2)[~np.eye(len(boxes), dtype=bool)]
            assert near.min(initial=9) > 0.6
        assert max(number for name, number in counts if name == 'Car') == 2 - len(gt_labels)
        assert max(number for name, number in counts if name == 'Pedestrian') == 3
    assert sampler.sample_all(np.tile(own, (9, 1)), np.array([2] * 4 + [0] * 5)) is None


def test_planes_and_images_are_refused(root):
    with pytest.raises(InputError, match='use_ground_plane'):
        sampler_of(root).sample_all(np.zeros((0, 7)), np.zeros(0), ground_plane=np.zeros(4))


def test_a_damaged_object_is_named(root, tmp_path):
    copy = Path(shutil.copytree(root, tmp_path / 'copy'))
    for path in (copy / 'kitti_gt_database').glob('*'):
        path.write_bytes(b'123')
    with pytest.raises(InputError, match='kitti_gt_database/0000'):
        build(copy)[0]
