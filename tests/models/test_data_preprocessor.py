import pytest
import torch
from mmdet3d.registry import DATASETS
from mmdet3d.structures import Det3DDataSample
from mmengine.dataset import pseudo_collate

from cleverdistiller.errors import InputError
from cleverdistiller.models.data_preprocessors import (
    DistillationDataPreprocessor,
    ScanDataPreprocessor,
    scan_data_preprocessor,
)
from cleverdistiller.models.frame_names import frame_names
from cleverdistiller.ops.voxelize import voxelize
from conftest import small_dataset


@pytest.fixture(scope='module')
def scans(frames_dir) -> list[dict]:
    dataset = DATASETS.build(small_dataset(frames_dir))
    return [dataset[i]['inputs'] for i in range(4)]


def prepare(scans, training=True, **options):
    data = pseudo_collate([dict(inputs=scan, data_samples=None) for scan in scans])
    return DistillationDataPreprocessor(0.2, **options)(data, training)['inputs']


@pytest.mark.parametrize('mix', [0.0, 1.0])
def test_pairs_and_queries_keep_naming_their_own_points_and_images(scans, mix):
    batch = prepare(scans, pair_points='all', mix3d_prob=mix)
    assert torch.equal(batch.points, torch.cat([scan['points'] for scan in scans]))
    points = pairs = queries = support = 0
    for number, scan in enumerate(scans):
        rows = slice(pairs, pairs + len(scan['pairs']))
        assert torch.equal(batch.pairs.point_index[rows], scan['pairs'].point_index + points)
        assert torch.equal(batch.pairs.image_index[rows], scan['pairs'].image_index + 2 * number)
        rows = slice(support, support + len(scan['queries'].support_query))
        assert torch.equal(batch.queries.support_query[rows], scan['queries'].support_query + queries)
        assert torch.equal(batch.queries.support_point[rows], scan['queries'].support_point + points)
        torch.testing.assert_close(batch.images[2 * number : 2 * number + 2], scan['images'].float() / 255)
        points, pairs = points + len(scan['points']), pairs + len(scan['pairs'])
        queries, support = queries + len(scan['queries']), support + len(scan['queries'].support_query)
    assert batch.images.min() >= 0 and batch.images.max() <= 1


def test_only_representatives_are_paired_by_default(scans):
    batch, everything = prepare(scans), prepare(scans, pair_points='all')
    speaks = set(batch.voxels.representative.tolist())
    assert set(batch.pairs.point_index.tolist()) <= speaks
    expected = sum(int(p) in speaks for p in everything.pairs.point_index)
    assert len(batch.pairs) == expected < len(everything.pairs)
    voxel_of = batch.voxels.point_to_voxel[batch.pairs.point_index]
    assert torch.equal(batch.voxels.representative[voxel_of], batch.pairs.point_index)


def test_mix3d_joins_neighbours_in_metres_on_one_grid(scans):
    shifted = dict(scans[0], points=scans[0]['points'] + torch.tensor([0.4, 0, 0, 0]))  # overlaps its twin
    batch = prepare([scans[0], shifted, scans[1]], mix3d_prob=1.0)
    assert batch.voxels.batch_size == 2  # (0, 1) and the odd one
    first = second = len(scans[0]['points'])
    cells = torch.floor(batch.points[: first + second, :3].double() / 0.2).long()
    cells -= cells.amin(0)
    found = batch.voxels.coords[batch.voxels.point_to_voxel[: first + second]]
    assert torch.equal(found[:, 1:].long(), cells) and (found[:, 0] == 0).all()
    shared = set(batch.voxels.point_to_voxel[:first].tolist()) & set(
        batch.voxels.point_to_voxel[first : first + second].tolist()
    )
    assert shared  # colliding points of both scans share a voxel
    third = batch.voxels.coords[batch.voxels.point_to_voxel[first + second :]]
    assert (third[:, 0] == 1).all() and not third[:, 1:].amin(0).any()
    assert batch.cloud_index.tolist() == [0] * (first + second) + [1] * len(scans[2]['points'])


@pytest.mark.parametrize('mix', [0.0, 1.0])
def test_points_share_a_voxel_where_they_share_cloud_and_cell(scans, mix):
    batch = prepare(scans, mix3d_prob=mix)
    members = {}
    row = 0
    for number, scan in enumerate(scans):
        for xyz in scan['points'][:, :3].double():
            cell = (number // 2 if mix else number, *(xyz / 0.2).floor().int().tolist())
            members.setdefault(cell, []).append(row)
            row += 1
    assert len(members) == len(batch.voxels)
    for rows in members.values():
        (voxel,) = set(batch.voxels.point_to_voxel[rows].tolist())
        speaker = int(batch.voxels.representative[voxel])
        assert speaker in rows
        assert torch.equal(batch.voxels.features[voxel], batch.points[speaker])


def test_a_batch_is_mixed_as_a_whole_or_not_at_all_and_never_in_evaluation(scans):
    sizes = {prepare(scans, mix3d_prob=0.5).voxels.batch_size for _ in range(30)}
    assert sizes == {2, 4}
    assert prepare(scans, training=False, mix3d_prob=1.0).voxels.batch_size == 4


def test_coordinates_stay_float32_under_autocast(scans, monkeypatch):
    def spy(*args, **kwargs):
        assert not torch.is_autocast_cpu_enabled()
        return voxelize(*args, **kwargs)

    monkeypatch.setattr(scan_data_preprocessor, 'voxelize', spy)
    outside = prepare(scans, training=False)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        batch = prepare(scans, training=False)
    assert batch.points.dtype == batch.voxels.features.dtype == batch.images.dtype == torch.float32
    assert torch.equal(batch.points, outside.points)
    assert torch.equal(batch.voxels.coords, outside.voxels.coords)


def test_sweeps_alone_are_enough_for_evaluation(scans):
    batch = prepare([dict(points=scan['points']) for scan in scans], training=False)
    assert batch.images is None and batch.pairs is None and batch.queries is None


def test_an_unknown_choice_of_points_is_refused():
    with pytest.raises(InputError, match='representative or all'):
        DistillationDataPreprocessor(pair_points='some')


def test_a_scan_without_points_is_named_in_training_and_empty_at_test_time():
    clouds = [torch.rand(30, 4), torch.zeros(0, 4), torch.zeros(0, 4)]
    names = [dict(frame_id='a'), dict(frame_id='b', token='c'), {}]
    data = dict(inputs=dict(points=clouds), data_samples=[Det3DDataSample(metainfo=meta) for meta in names])
    preprocessor = ScanDataPreprocessor(0.2)
    with pytest.raises(InputError, match='2 scans without points to train on, such as b\n'):
        preprocessor(data, True)
    batch = preprocessor(data, False)['inputs']
    assert batch.scan_sizes == (30, 0, 0) and batch.voxels.batch_size == 3


@pytest.mark.parametrize('far', [[3.4e38, 0, 0], [0, torch.nan, 0], [0, 0, -1e9], [3e5, 3e5, 3e5]])
@pytest.mark.parametrize('training', [False, True])
def test_a_scan_whose_cells_cannot_be_numbered_is_named(far, training):
    clouds = [torch.rand(30, 4), torch.zeros(0, 4), torch.cat([torch.rand(30, 4), torch.tensor([[*far, 0.5]])])]
    samples = [Det3DDataSample(metainfo=dict(frame_id=name)) for name in 'abc']
    if training:
        clouds[1] = torch.rand(1, 4)
    with pytest.raises(InputError, match=r'the frame c with a point .* m away(.|\n)*cells of 0\.05 m'):
        ScanDataPreprocessor(0.05)(dict(inputs=dict(points=clouds), data_samples=samples), training)
    clouds[2][:, :3].clamp_(-4e4, 4e4).nan_to_num_()
    grid = ScanDataPreprocessor(0.05)(dict(inputs=dict(points=clouds), data_samples=samples), training)['inputs'].voxels
    assert len(grid) > 40


def test_frames_are_named_by_what_is_known():
    samples = [Det3DDataSample(metainfo=meta) for meta in (dict(token='c', lidar_path='d'), dict(lidar_path='d'), {})]
    assert frame_names([*samples, None]) == ['c', 'd', 'number 2', 'number 3'] and frame_names(None) == []
