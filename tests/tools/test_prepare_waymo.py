"""tools/prepare_waymo.py as a user calls it, on a tiny simulated root with boxes put around its points."""

import pytest

pytest.importorskip('waymo_open_dataset')

import math
import pickle
import shutil
from pathlib import Path

import numpy as np
from waymo_open_dataset.label_pb2 import Label

from cleverdistiller.datasets import WaymoDetectionDataset
from cleverdistiller.datasets.waymo_records import detection_points, labelled_points
from conftest import REPO
from runs import run_script
from waymo_root import FRAMES, SEGMENTS, flip_the_last_bit, read_records, write_records, write_waymo_root

PREPARE = REPO / 'tools' / 'prepare_waymo.py'
LOAD = dict(type='LoadLiDARSweep', load_dim=5, norm_intensity=True, intensity_scale=1.0)
# Type, size, and level set by the labeller of the boxes in each frame; the empty one is far above the ground.
BOXES = [
    (Label.TYPE_VEHICLE, (4.5, 2.0, 1.6), 0),
    (Label.TYPE_PEDESTRIAN, (0.3, 0.3, 0.2), 0),
    (Label.TYPE_SIGN, (1.0, 1.0, 1.0), 0),
    (Label.TYPE_CYCLIST, (3.0, 2.0, 1.5), 2),
    (Label.TYPE_VEHICLE, (4.0, 2.0, 1.5), 0),
]
EMPTY = 4
KEPT = {0: 'Car', 1: 'Pedestrian', 3: 'Cyclist'}
LABELS = dict(Pedestrian=0, Cyclist=1, Car=2)


def inside(points, box):
    """Slow twin: which rows lie in a box of Waymo's, one by one."""
    rows = []
    for row, (x, y, z) in enumerate(points[:, :3].tolist()):
        dx, dy, dz = x - box.center_x, y - box.center_y, z - box.center_z
        along = dx * math.cos(box.heading) + dy * math.sin(box.heading)
        across = dy * math.cos(box.heading) - dx * math.sin(box.heading)
        if abs(along) < box.length / 2 and abs(across) < box.width / 2 and abs(dz) <= box.height / 2:
            rows.append(row)
    return rows


def put_boxes(frame, rng):
    points = labelled_points(frame)[0]
    centres = points[rng.choice(np.flatnonzero(np.hypot(*points[:, :2].T) < 25), len(BOXES)), :3].astype(float)
    centres[EMPTY, 2] += 50
    for index, (kind, (length, width, height), level) in enumerate(BOXES):
        x, y, z = centres[index]
        box = Label.Box(center_x=x, center_y=y, center_z=z, length=length, width=width, height=height)
        box.heading = rng.uniform(-3, 3)
        label = frame.laser_labels.add(box=box, type=kind, id=f'object{index}', detection_difficulty_level=level)
        label.num_lidar_points_in_box = len(inside(points, box))


@pytest.fixture(scope='module')
def simulated(tmp_path_factory, scene):
    """A root; do not change the folder."""
    root, rng = tmp_path_factory.mktemp('waymo'), np.random.default_rng(0)
    write_waymo_root(root, scene)
    for path in sorted(root.rglob('*.tfrecord')):
        frames = read_records(path)
        for index, frame in enumerate(frames):
            frame.timestamp_micros += index  # the small root repeats sweeps
            put_boxes(frame, rng)
        write_records(path, frames)
    return root


@pytest.fixture(scope='module')
def prepared(simulated, tmp_path_factory):
    """The set that one undisturbed run makes; do not change the folder."""
    out = tmp_path_factory.mktemp('set')
    prepare(simulated, out)
    return out


@pytest.fixture
def root(simulated, tmp_path):
    """A root to change."""
    return shutil.copytree(simulated, tmp_path / 'root')


def prepare(root: Path, out: Path, *options) -> None:
    run_script(PREPARE, root, '--out', out, '--workers', 1, *options)


def refused(capsys, root: Path, out: Path, *options) -> str:
    with pytest.raises(SystemExit) as left:
        prepare(root, out, *options)
    assert left.value.code == 2
    return capsys.readouterr().err.partition('error: ')[2]


def frames_of(root: Path, split: str) -> list:
    return [frame for path in sorted((root / split).iterdir()) for frame in read_records(path)]


def infos_of(out: Path, split: str) -> dict:
    return pickle.loads((out / f'waymo_infos_{split}.pkl').read_bytes())


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob('*')) if path.is_file()}


def written(out: Path) -> dict[Path, int]:
    names = (path for path in out.rglob('*') if path.is_file() and path.parent != out)
    return {path: path.stat().st_mtime_ns for path in names}


def change(path: Path, edit) -> None:
    frames = read_records(path)
    for frame in frames:
        edit(frame)
    write_records(path, frames)


@pytest.mark.parametrize('folder, split', [('training', 'train'), ('validation', 'val')])
def test_the_info_file_has_the_boxes_that_count_from_their_bottom(simulated, prepared, folder, split):
    infos = infos_of(prepared, split)
    assert infos['metainfo']['dataset'] == 'waymo_detection' and infos['metainfo']['categories'] == LABELS
    frames = frames_of(simulated, folder)
    assert len(infos['data_list']) == len(frames)
    levels = []
    for index, (record, frame) in enumerate(zip(infos['data_list'], frames)):
        context, micros = frame.context.name, frame.timestamp_micros
        expected = []
        for number, name in KEPT.items():
            label = frame.laser_labels[number]
            box, count = label.box, label.num_lidar_points_in_box
            levels.append(label.detection_difficulty_level or (2 if count <= 5 else 1))
            bottom = box.center_z - box.height / 2
            bbox_3d = [box.center_x, box.center_y, bottom, box.length, box.width, box.height, box.heading]
            row = dict(bbox_label_3d=LABELS[name], num_lidar_pts=count, difficulty=levels[-1], track_id=label.id)
            expected.append(dict(bbox_3d=bbox_3d, **row))
        lidar_points = dict(lidar_path=f'{folder}/{context}/points/{micros}.bin', num_pts_feats=5)
        assert record == dict(
            sample_idx=index,
            frame_id=f'{context}/{micros}',
            context_name=context,
            timestamp=micros,
            lidar_points=lidar_points,
            instances=expected,
        )
    assert set(levels[::3]) | set(levels[1::3]) == {1, 2} and set(levels[2::3]) == {2}


def test_the_dataset_loads_points_and_boxes(simulated, prepared):
    pipeline = [LOAD, dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True)]
    dataset = WaymoDetectionDataset(data_root=str(prepared), ann_file='waymo_infos_train.pkl', pipeline=pipeline)
    assert len(dataset) == (SEGMENTS - 1) * FRAMES
    for index, frame in enumerate(frames_of(simulated, 'training')):
        sample = dataset.pipeline(dataset.get_data_info(index))
        np.testing.assert_allclose(sample['points'].tensor, labelled_points(frame)[0], atol=1e-6)
        middles = sample['gt_bboxes_3d'].gravity_center.numpy()
        truth = [frame.laser_labels[number].box for number in KEPT]
        np.testing.assert_allclose(middles, [(b.center_x, b.center_y, b.center_z) for b in truth], atol=1e-5)
        assert sample['gt_labels_3d'].tolist() == [LABELS[name] for name in KEPT.values()]


def test_the_database_holds_each_training_object_with_five_points(simulated, prepared):
    database = pickle.loads((prepared / 'waymo_dbinfos_train.pkl').read_bytes())
    made = {(each['image_idx'], each['gt_idx']): each for found in database.values() for each in found}
    expected = 0
    for frame in frames_of(simulated, 'training'):
        points = detection_points(frame)
        for place, (number, name) in enumerate(KEPT.items()):
            box = frame.laser_labels[number].box
            rows = inside(points, box)
            if len(rows) < 5:
                continue
            expected += 1
            entry = made[f'{frame.context.name}/{frame.timestamp_micros}', place]
            assert (entry['name'], entry['num_points_in_gt']) == (name, len(rows)) and entry in database[name]
            own = np.fromfile(prepared / entry['path'], np.float32).reshape(-1, 5)
            own[:, :3] += (box.center_x, box.center_y, box.center_z - box.height / 2)
            np.testing.assert_allclose(own, points[rows], atol=1e-4)
            np.testing.assert_allclose(entry['box3d_lidar'][3:], (*BOXES[number][1], box.heading), rtol=1e-6)
    assert len(made) == expected > 10
    assert len(list((prepared / 'gt_database').rglob('*.bin'))) == expected
    assert sorted(each['group_id'] for each in made.values()) == list(range(expected))


def test_disk_and_time_are_stated_first(simulated, tmp_path, monkeypatch, capsys):
    prepare(simulated, tmp_path / 'set', '--splits', 'validation')
    said = capsys.readouterr().out
    assert said.startswith('1 record files: about ') and 'as measured on 3 frames' in said and 'are free in' in said
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(free=1000))
    assert '1e-06 GB of free disk' in refused(capsys, simulated, tmp_path / 'other')
    assert not (tmp_path / 'other').exists()
    prepare(simulated, tmp_path / 'set', '--splits', 'validation')  # there is nothing left to do


def test_the_cost_is_that_of_the_whole_work(simulated, prepared, capsys):
    from cleverdistiller.datasets.waymo_detection_files import Conversion, measure_cost

    sources = sorted(simulated.rglob('*.tfrecord'))
    cost = measure_cost(sources, Conversion(prepared))
    made = sum(path.stat().st_size for path in prepared.rglob('*.bin'))
    assert cost.frames == 3 and 0.7 * made < cost.out_bytes < 1.4 * made


@pytest.mark.parametrize('harm', ['part gone', 'part damaged', 'points short', 'object gone'])
def test_only_what_is_missing_is_done_again(root, prepared, tmp_path, harm):
    out = shutil.copytree(prepared, tmp_path / 'set')
    part = min((out / '.parts' / 'training').iterdir())
    context = read_records(min((root / 'training').iterdir()))[0].context.name
    if harm == 'part gone':
        part.unlink()
    elif harm == 'part damaged':
        part.write_bytes(part.read_bytes()[:100])
    elif harm == 'points short':
        points = min((out / 'training' / context / 'points').iterdir())
        points.write_bytes(points.read_bytes()[:-20])
    else:
        min((out / 'gt_database' / context).iterdir()).unlink()
    before = written(out)
    prepare(root, out)
    again = {path for path, time in written(out).items() if time != before.get(path)}
    assert again and all(path == part or context in path.parts for path in again)
    assert contents(out) == contents(prepared)
    before = written(out)
    prepare(root, out)
    assert written(out) == before


def test_shards_make_the_same_set(root, prepared, tmp_path, capsys):
    out = tmp_path / 'set'
    prepare(root, out, '--shard', '0/2')  # of three record files the first and, alone in its split, the last
    said = capsys.readouterr().out
    assert said.startswith('2 record files: about ')
    assert 'training: 1 of 2 record files are not converted yet, so no info file' in said
    assert f'prepare_waymo.py {root} --out {out} --splits training validation --returns 2\n' in said
    assert [path.name for path in out.glob('*.pkl')] == ['waymo_infos_val.pkl']
    before = written(out)
    prepare(root, out, '--shard', '1/2')
    assert before.items() <= written(out).items() and 'not converted' not in capsys.readouterr().out
    assert contents(out) == contents(prepared)


def test_other_options_make_another_set(root, prepared, tmp_path):
    out = shutil.copytree(prepared, tmp_path / 'set')
    prepare(root, out, '--returns', 1, '--splits', 'training')
    frame = frames_of(root, 'training')[0]
    path = infos_of(out, 'train')['data_list'][0]['lidar_points']['lidar_path']
    assert (out / path).read_bytes() == detection_points(frame, 1).tobytes() != (prepared / path).read_bytes()
    listed = pickle.loads((out / 'waymo_dbinfos_train.pkl').read_bytes())
    assert len(list((out / 'gt_database').rglob('*.bin'))) == sum(map(len, listed.values()))
    prepare(root, tmp_path / 'bare', '--no-database', '--splits', 'training')
    assert not list((tmp_path / 'bare').glob('*db*')) and not (tmp_path / 'bare' / 'gt_database').exists()
    prepare(root, tmp_path / 'bare')  # cut out later
    assert contents(tmp_path / 'bare') == contents(prepared)


def test_damaged_files_are_named_and_the_others_kept(simulated, root, prepared, tmp_path, capsys):
    path = max((root / 'training').iterdir())
    path.write_bytes(path.read_bytes()[:-5])
    [flipped] = (root / 'validation').iterdir()
    flip_the_last_bit(flipped)
    out = tmp_path / 'set'
    said = refused(capsys, root, out)
    assert f'2 damaged record files, such as\n    {path}, which ends within' in said
    assert f'{flipped}, whose record {FRAMES - 1}, counted from 0, is damaged' in said
    assert len(list((out / '.parts').glob('*/*.pkl'))) == 1 and not list(out.glob('*.pkl'))
    assert len(list((out / 'training').iterdir())) == 1 and not (out / 'validation').exists()  # nothing of the damaged
    prepare(simulated, out)
    assert contents(out) == contents(prepared)


def test_labels_that_cannot_be_scored_are_named(root, tmp_path, capsys):
    first, second = sorted((root / 'training').iterdir())

    def forget_counts(frame):
        for label in frame.laser_labels:
            label.ClearField('num_lidar_points_in_box')

    def spoil(frame):
        frame.laser_labels[0].box.length = math.nan

    change(first, forget_counts)
    change(second, spoil)
    said = refused(capsys, root, tmp_path / 'set', '--splits', 'training')
    assert f'{second}, in which the box object0 of the frame' in said
    assert f'{first} with {FRAMES * len(BOXES)} boxes that hold no points' in said


def test_a_split_without_boxes_is_refused(root, tmp_path, capsys):
    for path in (root / 'training').iterdir():
        change(path, lambda frame: frame.ClearField('laser_labels'))
    said = refused(capsys, root, tmp_path / 'set', '--splits', 'training')
    assert f'{root / "training"}: {(SEGMENTS - 1) * FRAMES} frames without a box' in said
    assert not list((tmp_path / 'set').glob('*.pkl'))


def test_a_frame_that_comes_twice_is_refused(root, tmp_path, capsys):
    first = min((root / 'training').iterdir())
    write_records(first, read_records(first)[:1] * 2)
    said = refused(capsys, root, tmp_path / 'set', '--splits', 'training')
    assert f'{first} with the frame' in said and 'twice' in said
    [source] = (root / 'validation').iterdir()
    copy = shutil.copy(source, source.with_name('copy.tfrecord'))
    said = refused(capsys, root, tmp_path / 'set', '--splits', 'validation')
    assert str(source) in said and str(copy) in said


def test_a_missing_split_or_bad_number_is_named_before_anything_is_written(root, tmp_path, capsys):
    assert '--workers 0' in refused(capsys, root, tmp_path / 'set', '--workers', 0)
    assert '--shard 2/2' in refused(capsys, root, tmp_path / 'set', '--shard', '2/2')
    shutil.rmtree(root / 'validation')
    assert f'{root / "validation"}, which is not a folder' in refused(capsys, root, tmp_path / 'set')
    assert not (tmp_path / 'set').exists()
