import numpy as np
import pytest
import torch
from mmdet3d.structures import LiDARPoints

from cleverdistiller.datasets import label_set
from cleverdistiller.datasets.label_set import DAPS_3D, NUSCENES, SEMANTIC_KITTI, SEMANTIC_STF
from cleverdistiller.datasets.transforms import DropNoReturns, LoadPointLabels, _doubts
from cleverdistiller.errors import InputError


def frame(path, labels, points: int, **more) -> dict:
    cloud = LiDARPoints(torch.ones(points, 4), points_dim=4)
    return dict(
        points=cloud, lidar_path='scan.bin', pts_semantic_mask_path=path and str(path), label_set=labels, **more
    )


@pytest.mark.parametrize('name', ['NUSCENES', 'SEMANTIC_KITTI', 'SEMANTIC_STF', 'WAYMO', 'RELLIS_3D', 'DAPS_3D'])
def test_every_documented_id_is_read_in_the_sets_own_layout(tmp_path, name):
    labels, path = getattr(label_set, name), tmp_path / 'frame.label'
    expected = {number: label for label, ids in enumerate(labels.raw_ids.values()) for number in ids}
    expected |= dict.fromkeys(labels.ignored, len(labels.names))
    np.array([*expected]).astype(labels.dtype).tofile(path)
    results = LoadPointLabels()(frame(path, labels, len(expected)))
    assert results['pts_semantic_mask'].tolist() == [*expected.values()]
    assert results['pts_semantic_mask'].dtype == np.int64 and 'eval_ann_info' not in results


def test_instances_do_not_matter(tmp_path):
    path = tmp_path / 'frame.label'
    np.array([10 | 3 << 16, 252 | 0xFFFF << 16, 99 | 1 << 16], np.uint32).tofile(path)
    assert LoadPointLabels()(frame(path, SEMANTIC_KITTI, 3))['pts_semantic_mask'].tolist() == [0, 0, 19]


def test_an_evaluator_gets_the_same_labels(tmp_path):
    path = tmp_path / 'frame.label'
    np.array([17, 0], np.uint8).tofile(path)
    results = LoadPointLabels()(frame(path, NUSCENES, 2, eval_ann_info={}))
    assert results['eval_ann_info']['pts_semantic_mask'].tolist() == [3, 16]


@pytest.mark.parametrize('rows, points', [(9, 10), (11, 10), (0, 10), (1, 0)])
def test_a_file_of_another_length_is_named(tmp_path, rows, points):
    path = tmp_path / 'frame.label'
    np.zeros(rows, np.uint32).tofile(path)
    with pytest.raises(InputError, match=rf'frame\.label of {4 * rows} bytes, {rows} labels\n.*{points} labels'):
        LoadPointLabels()(frame(path, SEMANTIC_KITTI, points))


def test_a_cut_row_is_named(tmp_path):
    path = tmp_path / 'frame.label'
    path.write_bytes(bytes(39))
    with pytest.raises(InputError, match=r'frame\.label of 39 bytes, 9\.75 labels'):
        LoadPointLabels()(frame(path, SEMANTIC_KITTI, 10))


@pytest.mark.parametrize('name', ['frame.label', None, ''])
def test_a_missing_file_is_named_with_its_scan(tmp_path, name):
    path = tmp_path / name if name else name
    with pytest.raises(InputError, match=r'scan\.bin with .*' + (str(path) if path else 'no label file')) as refused:
        LoadPointLabels()(frame(path, SEMANTIC_KITTI, 1))
    assert 'remedy' in str(refused.value)


def test_a_record_without_a_label_is_told():
    results = frame(None, SEMANTIC_KITTI, 1)
    del results['pts_semantic_mask_path']
    with pytest.raises(InputError, match=r'scan\.bin with no label file'):
        LoadPointLabels()(results)


@pytest.mark.parametrize(
    'labels, wrong',
    [
        (NUSCENES, 44),
        (NUSCENES, 255),
        (SEMANTIC_KITTI, 260),
        (SEMANTIC_KITTI, 0xFFFF),
        (SEMANTIC_STF, 21),
        (SEMANTIC_STF, -1),
        (DAPS_3D, -(1 << 31)),
        (DAPS_3D, 1 << 20),
    ],
)
def test_an_id_out_of_range_is_named(tmp_path, labels, wrong):
    path = tmp_path / 'frame.label'
    np.array([0, wrong, 1, wrong], labels.dtype).tofile(path)
    with pytest.raises(InputError, match=rf'frame\.label with the label id {wrong} \(2 of 4 points') as refused:
        LoadPointLabels()(frame(path, labels, 4))
    assert f'from 0 to {labels.max_raw_id}' in str(refused.value)


@pytest.mark.parametrize(
    'rows',
    [
        np.full(900, 40, np.float32),
        np.r_[np.zeros(899), 259].astype(np.float32),  # scribbles: most have no class
        np.full(900, 40, '>u4'),
        np.full(900, 40 | 9 << 16, '>u4'),
    ],
    ids=['floats', 'few floats', 'big endian', 'big endian instances'],
)
@pytest.mark.parametrize('labels', [SEMANTIC_KITTI, label_set.RELLIS_3D, SEMANTIC_STF], ids=lambda one: one.dtype)
def test_rows_of_another_type_are_refused_by_file(tmp_path, rows, labels):
    rows.tofile(tmp_path / 'frame.label')
    with pytest.raises(InputError, match=rf'frame\.label with (.|\n)*{labels.dtype} ids from 0(.|\n)*remedy'):
        LoadPointLabels()(frame(tmp_path / 'frame.label', labels, 900))


@pytest.mark.parametrize(
    'labels, ids, expected',
    [
        (SEMANTIC_KITTI, np.arange(900) % 20, ['no label id above 19, as of training ids', 'the label id 2 ']),
        (NUSCENES, np.arange(900) % 17, ['no label id above 16, as of training ids']),
        (DAPS_3D, np.arange(900) % 5, ['no label id above 4', 'the label id 2 ']),
        (NUSCENES, np.r_[35, np.full(899, 24)], ['the label id 35 (1 of 900 points), which is ignored']),
        (SEMANTIC_KITTI, np.r_[10, 40, np.zeros(898)], []),
        (SEMANTIC_KITTI, np.zeros(900), []),
        (SEMANTIC_STF, np.arange(900) % 20, []),  # its raw ids are no others
    ],
)
def test_unlikely_ids_are_said_once_by_file(tmp_path, monkeypatch, labels, ids, expected):
    said = []
    monkeypatch.setattr(_doubts, 'print_log', lambda line, level, **_: said.append(line))
    loader = LoadPointLabels()
    for name in ('a.label', 'b.label'):
        ids.astype(labels.dtype).tofile(tmp_path / name)
        loader(frame(tmp_path / name, labels, 900))
    assert len(said) == len(expected) and all('a.label' in line for line in said)
    assert all(any(part in line for line in said) for part in expected)


@pytest.mark.parametrize('labelled', [True, False])
def test_no_returns_go_with_their_labels(labelled):
    rng = np.random.default_rng(0)
    points = rng.integers(0, 2, (200, 4)).astype(np.float32)  # about 25 rows at the origin, some on an axis
    mask = rng.integers(0, 15, 200)
    results = dict(points=LiDARPoints(torch.from_numpy(points), points_dim=4))
    if labelled:
        results |= dict(pts_semantic_mask=mask, eval_ann_info=dict(pts_semantic_mask=mask))
    results = DropNoReturns()(results)
    kept = [row for row in range(200) if not (points[row, 0] == points[row, 1] == points[row, 2] == 0)]
    assert 100 < len(kept) < 200
    np.testing.assert_array_equal(results['points'].tensor, points[kept])
    if labelled:
        assert results['pts_semantic_mask'].tolist() == mask[kept].tolist()
        assert results['eval_ann_info']['pts_semantic_mask'].tolist() == mask[kept].tolist()


def test_a_bare_test_frame_keeps_no_labels():
    results = dict(points=LiDARPoints(torch.tensor([[0.0, 0, 0, 1], [1, 0, 0, 0]]), points_dim=4), eval_ann_info={})
    results = DropNoReturns()(results)
    assert len(results['points']) == 1 and results['eval_ann_info'] == {}
