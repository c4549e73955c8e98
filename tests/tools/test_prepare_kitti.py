"""tools/prepare_kitti.py as a user calls it, against mmdet3d's own tool, on made-up, simulated and real frames."""

import dataclasses
import sys
from pathlib import Path

import mmdet3d
import mmengine
import numpy as np
import pytest
from mmdet3d.registry import DATASETS

from cleverdistiller.datasets import kitti_infos
from cleverdistiller.simulation.sensors.recording import simulate_frame
from cleverdistiller.simulation.sensors.rigs import KITTI
from cleverdistiller.simulation.writers.kitti_writer import KittiWriter
from conftest import REAL_DATA, REPO
from kitti_root import SPLITS, TEST_FRAME, write_kitti_root
from runs import run_script

TOOL = REPO / 'tools' / 'prepare_kitti.py'
STOCK_LOADING = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
]


def written(root: Path) -> dict[str, bytes]:
    paths = [*root.glob('*.pkl'), *root.glob('kitti_gt_database/*'), *root.glob('*/velodyne_reduced/*')]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as left:
        run_script(TOOL, *arguments)
    said = capsys.readouterr().err
    assert left.value.code == 2 and 'remedy' in said and 'Traceback' not in said
    return said


@pytest.fixture(scope='module')
def prepared(tmp_path_factory) -> Path:
    root = write_kitti_root(tmp_path_factory.mktemp('kitti'))
    run_script(TOOL, root)
    return root


@pytest.fixture(scope='module')
def stock(tmp_path_factory) -> Path:
    """The same root as mmdet3d's own tool prepares it."""
    root = write_kitti_root(tmp_path_factory.mktemp('stock'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'path', [str(Path(mmdet3d.__file__).parent / '.mim'), *sys.path])
        patch.setattr('time.sleep', lambda seconds: None)
        from tools.dataset_converters import create_gt_database, kitti_converter, update_infos_to_v2

        kitti_converter.create_kitti_info_file(root)
        kitti_converter.create_reduced_point_cloud(root, 'kitti')
        for split in ('train', 'val', 'trainval', 'test'):
            update_infos_to_v2.update_kitti_infos(str(root / f'kitti_infos_{split}.pkl'), str(root))
        create_gt_database.create_groundtruth_database('KittiDataset', str(root), 'kitti', 'kitti_infos_train.pkl')
    return root


def test_info_files_and_scans_are_those_of_mmdet3d(prepared, stock):
    for split in ('train', 'val', 'trainval', 'test'):
        ours, theirs = (mmengine.load(root / f'kitti_infos_{split}.pkl') for root in (prepared, stock))
        theirs['data_list'].sort(key=lambda record: record['sample_idx'])
        assert ours == theirs
    ours, theirs = written(prepared), written(stock)
    scans = [name for name in ours if 'reduced' in name]
    assert len(scans) == len(SPLITS['train']) + len(SPLITS['val']) + 1
    assert all(ours[name] == theirs[name] for name in scans)
    assert (prepared / 'testing' / 'velodyne_reduced' / f'{TEST_FRAME}.bin').stat().st_size > 16 * 100


def test_the_database_is_that_of_mmdet3d_but_for_the_names_of_frames(prepared, stock):
    ours, theirs = (mmengine.load(root / 'kitti_dbinfos_train.pkl') for root in (prepared, stock))
    frames = list(SPLITS['train'])
    assert {name: len(found) for name, found in ours.items()} == dict(Car=3, Pedestrian=1, Cyclist=1, Van=1)
    assert ours.keys() == theirs.keys()
    for name, found in ours.items():
        for one, other in zip(found, theirs[name], strict=True):
            assert one['image_idx'] == frames[other['image_idx']] and one['path'].split('/')[1].startswith(
                f'{one["image_idx"]}_{name}'
            )
            np.testing.assert_array_equal(one['box3d_lidar'], other['box3d_lidar'])
            same = ('name', 'gt_idx', 'num_points_in_gt', 'difficulty', 'group_id')
            assert [one[key] for key in same] == [other[key] for key in same]
            points, twin = (root / each['path'] for root, each in ((prepared, one), (stock, other)))
            assert points.read_bytes() == twin.read_bytes() and points.stat().st_size == 16 * one['num_points_in_gt']


def test_points_of_an_object_are_the_ones_that_were_put_inside(prepared):
    found = mmengine.load(prepared / 'kitti_dbinfos_train.pkl')
    for one in [one for each in found.values() for one in each]:
        dx, dy, dz = one['box3d_lidar'][3:6]
        x, y, z, intensity = np.fromfile(prepared / one['path'], np.float32).reshape(-1, 4).T
        assert 30 + one['gt_idx'] <= len(x) < 60 + one['gt_idx']  # some of the surroundings may be inside, too
        assert (np.hypot(x, y) < np.hypot(dx, dy) / 2 + 0.02).all() and (z > -0.02).all() and (z < dz + 0.02).all()
        assert (intensity >= 0).all() and (intensity <= 1).all()


def test_again_the_same_bytes_and_out_is_a_root_of_its_own(prepared, tmp_path, capsys):
    before = written(prepared)
    (prepared / 'simulation.json').write_text('{}')
    run_script(TOOL, prepared, '--out', tmp_path / 'a' / 'out')
    (prepared / 'simulation.json').unlink()
    assert written(tmp_path / 'a' / 'out') == before == written(prepared)
    assert '     3 frames: ' in capsys.readouterr().out
    assert (tmp_path / 'a' / 'out' / 'training' / 'image_2' / '000003.png').is_file()
    assert (tmp_path / 'a' / 'out' / 'simulation.json').is_file()


def test_a_run_that_failed_leaves_the_old_index_and_is_started_again(tmp_path, capsys, monkeypatch):
    root = write_kitti_root(tmp_path)
    run_script(TOOL, root)
    before = written(root)

    def full(path, points):
        raise OSError(28, 'No space left on device', str(path))

    (root / 'kitti_gt_database' / '000010_Car_1.bin').unlink()
    monkeypatch.setattr(kitti_infos, '_write', full)
    assert 'No space left on device' in refused(capsys, root)
    monkeypatch.undo()
    assert all(text == before[name] for name, text in written(root).items())
    run_script(TOOL, root)
    assert written(root) == before


@pytest.mark.parametrize(
    'file, change, said',
    [
        ('velodyne/000003.bin', lambda old: old[:-3], 'truncated'),
        ('velodyne/000004.bin', lambda old: b'', 'empty'),
        ('image_2/000010.png', lambda old: b'<html>', 'no image'),
        ('calib/000003.txt', lambda old: old.replace(b'Tr_velo_to_cam', b'Tr'), 'without Tr_velo_to_cam'),
        ('label_2/000010.txt', lambda old: old.replace(b'Van', b'Lorry'), 'unknown class Lorry'),
        ('label_2/000010.txt', lambda old: old.replace(b' 5.00 ', b' nan '), 'row 1, a Van, has a value that is NaN'),
        ('label_2/000011.txt', None, 'missing'),
    ],
)
def test_a_bad_file_is_named_and_nothing_is_written(tmp_path, capsys, file, change, said):
    root = write_kitti_root(tmp_path)
    path = root / 'training' / file
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    message = refused(capsys, root)
    assert f'1 bad files of 19 in {root}' in message and f'training/{file} (' in message and said in message
    assert written(root) == {}


def test_lists_of_ones_own_and_roots_without_validation_or_test(tmp_path, capsys):
    root = write_kitti_root(tmp_path / 'root')
    lists = tmp_path / 'lists'
    lists.mkdir()
    (lists / 'train.txt').write_text('000010\n000004\n')
    run_script(TOOL, root, '--splits-from', lists)
    said = capsys.readouterr().out
    assert 'no test split' in said and not list(root.glob('*_val.pkl'))
    assert [record['sample_idx'] for record in mmengine.load(root / 'kitti_infos_train.pkl')['data_list']] == [10, 4]
    (lists / 'val.txt').write_text('000004\n')
    assert 'in train.txt and in val.txt' in refused(capsys, root, '--splits-from', lists)
    assert 'is not a file' in refused(capsys, root, '--splits-from', tmp_path)


def test_a_root_as_it_is_downloaded_has_the_usual_splits(tmp_path, capsys):
    (tmp_path / 'training').mkdir()
    assert f'{4 * 7481} bad files of {4 * 7481}' in refused(capsys, tmp_path)


def test_simulated_frames_load_through_mmdet3d(tmp_path, scene):
    root = tmp_path / 'set'
    writer = KittiWriter(root, scenes=1, frames=3, seed=0)
    rig = dataclasses.replace(KITTI, lidar=dataclasses.replace(KITTI.lidar, columns=500))
    frame = simulate_frame(scene, rig, 16)
    writer.finish([[writer.write_frame(dataclasses.replace(frame, scene=0, index=row), scene) for row in range(3)]])
    run_script(TOOL, root)
    for split, count in dict(train=1, val=1, trainval=2, test=1).items():
        folder = 'testing' if split == 'test' else 'training'
        dataset = DATASETS.build(
            dict(
                type='KittiDataset',
                data_root=str(root),
                ann_file=f'kitti_infos_{split}.pkl',
                data_prefix=dict(pts=f'{folder}/velodyne_reduced'),
                pipeline=STOCK_LOADING[: 1 if split == 'test' else 2],
                test_mode=split == 'test',
            )
        )
        assert len(dataset) == count
        for index in range(count):
            sample = dataset.pipeline(dataset.get_data_info(index))
            assert len(sample['points']) > 1000 and (split == 'test' or len(sample['gt_bboxes_3d']) > 0)


def test_the_real_frames(tmp_path):
    real = REAL_DATA / 'kitti_object'
    if not real.is_dir():
        pytest.skip(f'no real frames in {real}: set CLEVERDISTILLER_REAL_DATA')
    run_script(TOOL, real, '--out', tmp_path, '--splits-from', REPO / 'configs' / 'splits' / 'kitti_sample')
    database = mmengine.load(tmp_path / 'kitti_dbinfos_train.pkl')
    assert {Path(one['path']).stem: one['num_points_in_gt'] for found in database.values() for one in found} == {
        '000000_Pedestrian_0': 377,  # as mmdet3d's own sample of this frame says
        '000001_Truck_0': 71,
        '000001_Car_1': 9,
        '000001_Cyclist_2': 18,
        '000002_Misc_0': 1349,
        '000002_Car_1': 67,
    }
