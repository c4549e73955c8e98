"""tools/prepare_kitti.py as a user calls it, against mmdet3d's own tool, on made-up, simulated and real frames."""

import dataclasses
import re
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


def change_files(root: Path, folder: str, change) -> None:
    """Rewrite every training file of a folder: bytes to bytes."""
    for path in sorted((root / 'training' / folder).iterdir()):
        path.write_bytes(change(path.read_bytes()))


def points_of(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.float32).reshape(-1, 4).copy()


def with_rows(rows: slice, columns: int | slice, value: float):
    def change(content: bytes) -> bytes:
        points = points_of(content)
        points[rows, columns] = value
        return points.tobytes()

    return change


def five_columns(content: bytes) -> bytes:
    points = points_of(content)
    rings = np.arange(len(points), dtype=np.float32) % 64
    return np.column_stack([points, rings])[: len(points) // 4 * 4].tobytes()


@pytest.mark.parametrize(
    'folder, change, said',
    [
        ('velodyne', with_rows(slice(7), 0, np.nan), r'7 of \d+ points that are NaN or infinite(.|\n)*--drop-nan'),
        ('velodyne', with_rows(slice(1, 3), 3, np.inf), '2 of .* points that are NaN'),
        ('velodyne', with_rows(slice(1), 1, 3.4e38), r'a coordinate of 3\.4e\+38 m'),
        ('velodyne', with_rows(slice(1), 2, -5e6), r'a coordinate of 5e\+06 m'),  # a map's, not a sensor's
        ('velodyne', five_columns, 'columns that are not x, y, z, intensity'),
        ('velodyne', lambda old: points_of(old).astype(np.float64).tobytes(), '(NaN|coordinate|columns)'),
        ('velodyne', lambda old: points_of(old).astype('>f4').tobytes(), '(NaN|coordinate|columns)'),
        (
            'calib',
            lambda old: re.sub(rb'(Tr_velo_to_cam|R0_rect):.*', _identity, old),
            r'calib/000003\.txt \(no point of its scan is seen by camera 2: Tr_velo_to_cam',
        ),
        ('calib', lambda old: re.sub(rb'Tr_velo_to_cam:.*', b'Tr_velo_to_cam:' + b' 0' * 12, old), 'does not turn'),
    ],
)
def test_values_that_cannot_be_are_refused_by_file_and_nothing_is_written(tmp_path, capsys, folder, change, said):
    root = write_kitti_root(tmp_path)
    change_files(root, folder, change)
    message = refused(capsys, root)
    assert re.search(said, message) and f'training/{folder}/0000' in message
    assert written(root) == {} and not (root / 'training' / 'velodyne_reduced').exists()


def _identity(row: re.Match) -> bytes:
    name = row.group(1)
    return name + (b': 1 0 0 0 0 1 0 0 0 0 1 0' if name == b'Tr_velo_to_cam' else b': 1 0 0 0 1 0 0 0 1')


def test_nan_rows_are_left_out_where_that_is_asked_for(tmp_path, capsys):
    root = write_kitti_root(tmp_path)
    plain = write_kitti_root(tmp_path / 'plain')
    for path in (root / 'training' / 'velodyne').iterdir():
        points = points_of(path.read_bytes())
        broken = np.insert(points, np.arange(0, len(points), 50), np.float32([1, 2, np.nan, 0]), axis=0)
        path.write_bytes(broken.tobytes())
    run_script(TOOL, root, '--drop-nan')
    said = capsys.readouterr().out
    assert 'NaN or infinite were left out of the scans of 4 frames' in said
    run_script(TOOL, plain)
    assert written(root) == {name: text for name, text in written(plain).items()}


def test_labels_in_another_frame_are_refused(tmp_path, capsys):
    root = write_kitti_root(tmp_path)

    def change(content: bytes) -> bytes:
        rows = [line.split() for line in content.decode().splitlines()]
        moved = [[*row[:11], '30', '-1.7', '0.2', row[14]] if row[0] != 'DontCare' else row for row in rows]
        return ''.join(' '.join(row) + '\n' for row in moved).encode()

    change_files(root, 'label_2', change)
    message = refused(capsys, root)
    assert 'labels of 9 objects, not one of which has a box with its middle in the image' in message
    assert written(root) == {}


def test_what_was_seen_is_reported_and_the_unlikely_is_said_once(tmp_path, capsys):
    root = write_kitti_root(tmp_path)
    change_files(root, 'velodyne', lambda old: (points_of(old) * np.float32([1, 1, 1, 255])).tobytes())
    run_script(TOOL, root)
    said = capsys.readouterr().out
    assert '5 frames: camera 2 sees ' in said and '9 objects: ' in said and ' points a box' in said
    assert said.count('WARNING') == 2  # nor are the made-up boxes in the image those of the objects
    assert re.search(r'WARNING: scans of 4 frames, such as 000003: intensities up to 25\d\.?\d* instead of 1', said)
    assert 'WARNING: only 0% of the 3D boxes have their middle in their own 2D box' in said


def test_labels_without_2d_boxes_are_taken_with_one_loud_line(tmp_path, capsys):
    root = write_kitti_root(tmp_path)
    change_files(root, 'label_2', lambda old: old.replace(b'500.00 150.00 560.00 200.00', b'0 0 0 0'))
    path = root / 'training' / 'label_2' / '000003.txt'
    hidden = (
        path.read_text().replace('Pedestrian 0.00 0', 'Pedestrian 0.40 0').replace('Cyclist 0.00 0', 'Cyclist 0.00 3')
    )
    path.write_text(hidden)
    run_script(TOOL, root)
    assert capsys.readouterr().out.count('WARNING: all 2D boxes are empty') == 1
    database = mmengine.load(root / 'kitti_dbinfos_train.pkl')
    assert {one['difficulty'] for one in database['Car']} == {0}
    assert database['Pedestrian'][0]['difficulty'] == 2 and database['Cyclist'][0]['difficulty'] == -1
    instances = mmengine.load(root / 'kitti_infos_train.pkl')['data_list'][0]['instances']
    assert instances[0]['bbox'] == [0, 0, 0, 0] and instances[0]['difficulty'] == 0
    assert [one['bbox_label'] for one in instances] == [2, 0, 1, -1]

    path.write_text(path.read_text().replace(' 0 0 0 0', ' 500.00 150.00 560.00 200.00', 1))
    run_script(TOOL, root)
    assert 'WARNING: 8 of 9 objects have an empty 2D box' in capsys.readouterr().out
    assert mmengine.load(root / 'kitti_dbinfos_train.pkl')['Pedestrian'][0]['difficulty'] == -1


def test_any_spelling_that_the_benchmark_reads_gives_the_same_bytes(prepared, tmp_path):
    root = write_kitti_root(tmp_path)

    def label(content: bytes) -> bytes:
        rows = content.decode().replace(' 0.00 0 ', '  0.0\t0.0 ').splitlines()
        return ('\n' + '\n\n'.join([*rows[-1:], *rows[:-1]]) + '\n').encode()  # regions first

    change_files(root, 'label_2', label)

    def calibration(content: bytes) -> bytes:
        return b'\n\n'.join(b' ' + row.replace(b': ', b':\t ') for row in content.splitlines()[::-1])

    change_files(root, 'calib', calibration)
    run_script(TOOL, root)
    assert written(root) == {name: text for name, text in written(prepared).items()}


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
