import runpy
from dataclasses import replace
from pathlib import Path

import mmdet3d
import mmengine
import numpy as np
import pytest
from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.frame_list import FrameList, fingerprint
from cleverdistiller.errors import InputError

TYPES = dict(
    NuScenesSegmentation='nuscenes',
    SemanticKittiSegmentation='semantickitti',
    ScribbleKittiSegmentation='scribblekitti',
    WaymoSegmentation='waymo',
    Rellis3DSegmentation='rellis3d',
    SemanticSTFSegmentation='semanticstf',
    DAPS3DSegmentation='daps3d',
)
every_type = pytest.mark.parametrize('kind', TYPES)
LOAD = [dict(type='LoadLiDARSweep', load_dim=4, intensity_scale=1.0), dict(type='LoadPointLabels')]
IDS = ['00/000000', '00/000001', '04/000000', '04/000001']


def write_set(root: Path, kind: str = 'SemanticKittiSegmentation') -> Path:
    """Two sequences of two frames, each with a point of every documented id; returns the info file."""
    labels = DATASETS.get(kind).labels
    raw = np.array([*(number for ids in labels.raw_ids.values() for number in ids), *labels.ignored])
    records = []
    for index, name in enumerate(IDS):
        sequence, number = name.split('/')
        scan, mask = f'{sequence}/velodyne/{number}.bin', f'{sequence}/labels/{number}.label'
        for path in (scan, mask):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
        np.full((len(raw), 4), index, np.float32).tofile(root / scan)
        raw.astype(labels.dtype).tofile(root / mask)
        records.append(
            dict(
                sample_idx=index,
                token=f'token{index}',
                scene_name=f'scene-{sequence}',
                scene_row=10 - int(sequence),
                lidar_points=dict(lidar_path=scan, num_pts_feats=4, sample_data_token=f'sweep{index}'),
                pts_semantic_mask_path=mask,
            )
        )
    return write_infos(root, records)


def write_infos(root: Path, records) -> Path:
    mmengine.dump(dict(metainfo=dict(dataset='made-up', info_version='1.1'), data_list=records), root / 'infos.pkl')
    return root / 'infos.pkl'


def build(root: Path, kind: str = 'SemanticKittiSegmentation', **options):
    return DATASETS.build(dict(dict(type=kind, data_root=str(root), ann_file='infos.pkl', pipeline=LOAD), **options))


@every_type
def test_samples_carry_points_labels_and_their_name(tmp_path, kind):
    write_set(tmp_path, kind)
    dataset = build(tmp_path, kind)
    labels = dataset.labels
    expected = [label for label, ids in enumerate(labels.raw_ids.values()) for _ in ids]
    expected += [labels.ignore_index] * len(labels.ignored)
    assert dataset.name == TYPES[kind] and len(dataset) == 4
    names = [f'token{index}' for index in range(4)] if kind == 'NuScenesSegmentation' else IDS
    for index in range(4):
        sample = dataset[index]
        assert sample['pts_semantic_mask'].tolist() == expected
        assert sample['frame_id'] == names[index] and (sample['points'].tensor == index).all()
        assert 'eval_ann_info' not in sample


@every_type
def test_metainfo_is_what_metrics_and_mmdet3d_expect(tmp_path, kind):
    write_set(tmp_path, kind)
    dataset = build(tmp_path, kind)
    names = dataset.labels.names
    assert dataset.metainfo['classes'] == names
    assert dataset.metainfo['label2cat'] == dict(enumerate(names))
    assert dataset.metainfo['ignore_index'] == dataset.ignore_index == len(names)
    assert len(dataset.metainfo['palette']) == len(names)
    assert set(np.flatnonzero(dataset.seg_label_mapping == 0)) == set(dataset.labels.raw_ids[names[0]])
    assert type(dataset).METAINFO.keys() == dataset.labels.metainfo().keys()  # building changes no class


def test_an_evaluator_finds_the_labels(tmp_path):
    write_set(tmp_path)
    sample = build(tmp_path, test_mode=True)[3]
    assert sample['eval_ann_info']['pts_semantic_mask'].tolist() == sample['pts_semantic_mask'].tolist()


def test_nuscenes_frames_go_by_their_tokens_and_scenes_by_the_table(tmp_path):
    write_set(tmp_path, 'NuScenesSegmentation')
    dataset = build(tmp_path, 'NuScenesSegmentation')
    records = mmengine.load(tmp_path / 'infos.pkl')['data_list']
    assert [dataset.scene_of(record) for record in records] == ['scene-00'] * 2 + ['scene-04'] * 2
    assert dataset.scene_of(min(records, key=dataset.scene_order)) == 'scene-04'
    assert dataset[1]['sample_data_token'] == 'sweep1'


def test_repeat_goes_through_each_frame_again(tmp_path):
    write_set(tmp_path)
    dataset = build(tmp_path, repeat=3)
    assert [dataset[index]['frame_id'] for index in range(12)] == [name for name in IDS for _ in range(3)]


def test_folders_of_scans_and_labels_can_be_elsewhere(tmp_path):
    write_set(tmp_path / 'scans')
    (tmp_path / 'scans' / 'infos.pkl').rename(tmp_path / 'infos.pkl')
    dataset = build(tmp_path, data_prefix=dict(pts='scans', pts_semantic_mask=str(tmp_path / 'scans')))
    assert len(dataset[0]['pts_semantic_mask']) == len(dataset[0]['points'])


def test_mmdet3ds_own_semantickitti_index_loads(tmp_path):
    converter = Path(mmdet3d.__file__).parent / '.mim/tools/dataset_converters/semantickitti_converter.py'
    infos = runpy.run_path(str(converter))['get_semantickitti_info']('val')
    mmengine.dump(infos, tmp_path / 'infos.pkl')
    for folder in ('velodyne', 'labels'):
        (tmp_path / 'sequences/08' / folder).mkdir(parents=True)
    np.ones((3, 4), np.float32).tofile(tmp_path / 'sequences/08/velodyne/000007.bin')
    np.array([10, 99, 81 | 1 << 16], np.uint32).tofile(tmp_path / 'sequences/08/labels/000007.label')
    dataset = build(tmp_path, test_mode=True)
    assert len(dataset) == 4071
    assert dataset[7]['frame_id'] == '08/000007' and dataset[7]['pts_semantic_mask'].tolist() == [0, 19, 18]


def some_frames(root: Path, **changes) -> str:
    """A frame list of two of the four frames; returns its path."""
    whole = FrameList('semantickitti', 'uniform', 0, '50', len(IDS), fingerprint(IDS), (IDS[0], IDS[3]))
    replace(whole, **changes).write(root / 'frames.json')
    return str(root / 'frames.json')


def test_a_frame_list_chooses_its_frames_in_the_sets_order(tmp_path):
    write_set(tmp_path)
    dataset = build(tmp_path, frame_list=some_frames(tmp_path, frames=(IDS[3], IDS[0])), repeat=2)
    assert [dataset[index]['frame_id'] for index in range(len(dataset))] == [IDS[0]] * 2 + [IDS[3]] * 2


@pytest.mark.parametrize(
    'changes, said',
    [
        (dict(dataset='scribblekitti'), 'of scribblekitti for semantickitti'),
        (dict(of=5), 'of 5 frames for one of 4'),
        (dict(fingerprint=fingerprint(['05/000000', *IDS[1:]]), frames=('05/000000',)), 'such as 05/000000'),
        (dict(fingerprint=fingerprint(['05/000000', *IDS[1:]])), 'with other frames'),
        (dict(frames=()), 'without frames'),
    ],
)
def test_a_frame_list_of_another_set_is_refused(tmp_path, changes, said):
    write_set(tmp_path)
    with pytest.raises(InputError, match=said) as refused:
        build(tmp_path, frame_list=some_frames(tmp_path, **changes))
    assert 'splits.py' in str(refused.value)


def test_a_missing_frame_list_is_named(tmp_path):
    write_set(tmp_path)
    with pytest.raises(InputError, match=r'none\.json'):
        build(tmp_path, frame_list=str(tmp_path / 'none.json'))


def without(record: dict, *keys: str) -> dict:
    return {key: value for key, value in record.items() if key not in keys}


@pytest.mark.parametrize(
    'damage, said',
    [
        (lambda path: path.unlink(), 'not a file'),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), 'cannot be read'),
        (lambda path: mmengine.dump([1, 2], path), 'of another version'),
        (lambda path: write_infos(path.parent, []), 'without frames'),
        (lambda path: write_infos(path.parent, [dict(sample_idx=0)]), "lacks 'lidar_points'"),
        (lambda path: write_infos(path.parent, [dict(lidar_points={})]), "lacks 'lidar_path'"),
        (
            lambda path: write_infos(path.parent, [dict(lidar_points=dict(lidar_path='0.bin'))]),
            'lacks a scan SEQ',
        ),
        (lambda path: write_infos(path.parent, ['00/velodyne/0.bin']), 'lacks a scan SEQ'),
    ],
)
def test_a_damaged_info_file_is_named_with_its_tool(tmp_path, damage, said):
    damage(write_set(tmp_path))
    with pytest.raises(InputError, match=said) as refused:
        build(tmp_path)
    assert 'infos.pkl' in str(refused.value) and 'tools/prepare_segmentation.py' in str(refused.value)


@pytest.mark.parametrize('key', ['token', 'lidar_points'])
def test_a_nuscenes_record_without_its_token_or_scan_is_told(tmp_path, key):
    path = write_set(tmp_path, 'NuScenesSegmentation')
    write_infos(tmp_path, [without(record, key) for record in mmengine.load(path)['data_list']])
    with pytest.raises(InputError, match=key) as refused:
        build(tmp_path, 'NuScenesSegmentation')
    assert 'tools/prepare_nuscenes.py' in str(refused.value)


def test_scribblekitti_does_not_read_dense_labels_by_mistake(tmp_path):
    infos = mmengine.load(write_set(tmp_path))
    mmengine.dump(dict(infos, metainfo=dict(dataset='semantickitti')), tmp_path / 'infos.pkl')
    with pytest.raises(InputError, match=r'infos\.pkl of semantickitti for scribblekitti'):
        build(tmp_path, 'ScribbleKittiSegmentation')
    assert len(build(tmp_path)) == 4


@pytest.mark.parametrize('option', [dict(metainfo=dict(classes=('road', 'car'))), dict(ignore_index=255)], ids=str)
def test_other_classes_than_the_set_s_own_are_refused(tmp_path, option):
    write_set(tmp_path)
    with pytest.raises(InputError, match='LabelSet'):
        build(tmp_path, **option)


def test_one_damaged_label_stops_with_its_name(tmp_path):
    write_set(tmp_path)
    (tmp_path / '04/labels/000001.label').write_bytes(bytes(8))
    dataset = build(tmp_path)
    assert dataset[2]['frame_id'] == IDS[2]
    with pytest.raises(InputError, match=r'04/labels/000001\.label of 8 bytes, 2 labels'):
        dataset[3]
