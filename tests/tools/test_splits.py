"""tools/splits.py as a user calls it, and the lists that are published with the code."""

import pytest

pytest.importorskip('waymo_open_dataset')

import json
import pickle
from pathlib import Path

from cleverdistiller.datasets import SemanticKittiSegmentation, WaymoSegmentation
from cleverdistiller.datasets.frame_list import FrameList
from cleverdistiller.errors import InputError
from cleverdistiller.simulation.writers.waymo_writer import (
    SCENES_APART_S,
    SEGMENTATION_EVERY,
    START_S,
    WaymoWriter,
)
from conftest import REPO
from runs import run_script

SPLITS = REPO / 'tools' / 'splits.py'
PUBLISHED = REPO / 'configs' / 'splits'
KITTI_LENGTHS = {0: 4541, 1: 1101, 2: 4661, 3: 801, 4: 271, 5: 2761, 6: 1101, 7: 1101, 9: 1591, 10: 1201}

KITTI_COUNTS = {5: 186, 10: 371, 20: 742}


def kitti_records(lengths: dict[int, int]) -> list[dict]:
    """Training frames of SemanticKITTI, of so many frames in each sequence."""
    return [
        dict(lidar_points=dict(lidar_path=f'sequences/{sequence:02d}/velodyne/{frame:06d}.bin', num_pts_feats=4))
        for sequence, frames in lengths.items()
        for frame in range(frames)
    ]


def waymo_records() -> list[dict]:
    """Labelled training frames of ``tools/simulate.py --format waymo --scenes 3 --frames 11 --seed 0``."""
    writer = WaymoWriter(Path(), scenes=3, frames=11, seed=0)
    # A tenth of a second apart, each named after the start of its LiDAR's turn, which takes as long and is centred.
    return [
        dict(lidar_points=dict(lidar_path=f'{writer.context_name(scene)}/lidar/{start_us}.bin', num_pts_feats=4))
        for scene in range(3)
        if writer.record_file(scene).parent.name == 'training'
        for frame in range(0, 11, SEGMENTATION_EVERY)
        for start_us in [(START_S + SCENES_APART_S * scene) * 1_000_000 + frame * 100_000 - 50_000]
    ]


def kitti_detection_records() -> list[dict]:
    """Training frames of KITTI's object detection benchmark, as far as their names go."""
    frames = (PUBLISHED / 'kitti' / 'train.txt').read_text().split()
    return [dict(sample_idx=int(frame), lidar_points=dict(lidar_path=f'{frame}.bin')) for frame in frames]


def write_infos(path: Path, records: list[dict], **metainfo) -> Path:
    path.write_bytes(pickle.dumps(dict(metainfo=metainfo, data_list=records)))
    return path


@pytest.fixture
def small_kitti(tmp_path) -> Path:
    """Info file of 40 frames in 4 sequences."""
    return write_infos(tmp_path / 'infos.pkl', kitti_records({0: 16, 1: 4, 2: 8, 3: 12}), dataset='semantickitti')


def test_lists_and_table(small_kitti, tmp_path, capsys):
    run_script(SPLITS, small_kitti, '--percent', 10, '50.0', '--seed', 1, '--out', tmp_path / 'lists')
    ten, fifty = (FrameList.read(tmp_path / 'lists' / f'uniform1_{percent}.json') for percent in (10, 50))
    assert (len(ten.frames), len(fifty.frames)) == (4, 20) and set(ten.frames) < set(fifty.frames)
    assert (fifty.dataset, fifty.mode, fifty.seed, fifty.percent, fifty.of) == ('semantickitti', 'uniform', 1, '50', 40)
    title, first, second = capsys.readouterr().out.splitlines()
    assert 'of 40 frames in 4 scenes' in title and 'uniform1_10.json (written)' in first
    assert second.split()[:3] == ['50', '20', str(len({frame[:2] for frame in fifty.frames}))]


def test_lists_go_where_configs_look_for_them(small_kitti, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for mode in ('uniform', 'stride', 'scene'):
        run_script(SPLITS, small_kitti, '--mode', mode, '--percent', 50, '--dataset', 'scribblekitti')
    folder = Path('configs/splits/scribblekitti')
    assert sorted(path.name for path in folder.iterdir()) == ['scene_50.json', 'stride_50.json', 'uniform0_50.json']
    assert {frame[:2] for frame in FrameList.read(folder / 'scene_50.json').frames} == {'01', '03'}


def test_a_published_list_is_not_changed_silently(small_kitti, tmp_path, capsys):
    command = (SPLITS, small_kitti, '--percent', 50, '--out', tmp_path)
    run_script(*command)
    path = tmp_path / 'uniform0_50.json'
    first = path.read_bytes()
    run_script(*command)
    assert 'uniform0_50.json (unchanged)' in capsys.readouterr().out and path.read_bytes() == first

    write_infos(small_kitti, kitti_records({0: 30}), dataset='semantickitti')
    with pytest.raises(SystemExit):
        run_script(*command, '--percent', 10, 50)
    assert 'uniform0_50.json, which holds another list' in capsys.readouterr().err
    assert path.read_bytes() == first and not (tmp_path / 'uniform0_10.json').exists()

    run_script(*command, '--overwrite')
    assert FrameList.read(path).of == 30


@pytest.mark.parametrize(
    'options, said',
    [
        (('--dataset', 'cifar'), 'one of daps3d, kitti, nuscenes, rellis3d'),
        (('--dataset', 'nuscenes'), "infos.pkl, a frame of which lacks 'token'"),
        (('--percent', '0.1'), 'infos.pkl, which is none'),
        (('--percent', '5', 'half'), 'a share of half %'),
        (('--mode', 'scene', '--percent', '30'), 'a step of whole'),
        (('--mode', 'stride', '--seed', 1), '0 for the others'),
    ],
)
def test_bad_arguments_get_one_clear_error_and_leave_nothing(small_kitti, tmp_path, capsys, options, said):
    with pytest.raises(SystemExit) as left:
        run_script(SPLITS, small_kitti, '--out', tmp_path / 'lists', *options)
    error = capsys.readouterr().err
    assert left.value.code == 2 and said in error and 'remedy' in error and 'Traceback' not in error
    assert not (tmp_path / 'lists').exists()


def test_bad_files_are_named(small_kitti, tmp_path, capsys):
    twice = write_infos(tmp_path / 'twice.pkl', kitti_records({0: 3}) * 2, dataset='semantickitti')
    nameless = write_infos(tmp_path / 'nameless.pkl', kitti_records({0: 3}), DATASET='SemanticKITTI')
    blocked = tmp_path / 'file'
    blocked.touch()
    for arguments, said in (
        ((tmp_path / 'none.pkl',), 'none.pkl, which is not a file'),
        ((twice,), 'twice.pkl with the frame 00/000000 2 times'),
        ((nameless,), 'the dataset None for'),
        ((small_kitti, '--percent', 50, '--out', blocked), 'cannot be written'),
    ):
        with pytest.raises(SystemExit):
            run_script(SPLITS, *arguments)
        error = capsys.readouterr().err
        assert said in error and 'remedy' in error and 'Traceback' not in error


def make_published_again(out: Path) -> None:
    """Every list of ``configs/splits``, below ``out``; their frames are known without the data."""
    kitti = write_infos(out / 'kitti.pkl', kitti_records(KITTI_LENGTHS))
    for folder, dataset, records, options in (
        *(
            ('semantickitti', 'semantickitti', None, ('--percent', 1, *options))
            for options in (('--seed', 0), ('--seed', 1), ('--seed', 2), ('--mode', 'stride'))
        ),
        ('scribblekitti', 'scribblekitti', None, ('--percent', 1, 10)),
        ('semantickitti_simulated', 'semantickitti', kitti_records({0: 6, 1: 6}), ('--percent', 50)),
        ('waymo_simulated', 'waymo', waymo_records(), ('--percent', 50)),
        *(('kitti', 'kitti', kitti_detection_records(), ('--percent', 5, 10, 20, '--seed', seed)) for seed in range(3)),
    ):
        infos = write_infos(out / f'{folder}.pkl', records) if records else kitti
        run_script(SPLITS, infos, '--dataset', dataset, '--out', out / folder, *options)


def test_the_published_lists_are_what_the_rules_give(tmp_path):
    assert len(kitti_records(KITTI_LENGTHS)) == 19_130
    make_published_again(tmp_path)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob('*.json')}
    ours = [path for path in PUBLISHED.rglob('*.json') if not path.name.startswith('public_')]  # others' lists
    published = {path.relative_to(PUBLISHED): path.read_text() for path in ours}
    assert made == published
    sizes = {str(path): len(json.loads(text)['frames']) for path, text in published.items()}
    assert sizes == {
        'semantickitti/uniform0_1.json': 191,
        'semantickitti/uniform1_1.json': 191,
        'semantickitti/uniform2_1.json': 191,
        'semantickitti/stride_1.json': 192,
        'scribblekitti/uniform0_1.json': 191,
        'scribblekitti/uniform0_10.json': 1913,
        'semantickitti_simulated/uniform0_50.json': 6,
        'waymo_simulated/uniform0_50.json': 3,
        **{
            f'kitti/uniform{seed}_{percent}.json': count for seed in range(3) for percent, count in KITTI_COUNTS.items()
        },
    }


@pytest.mark.parametrize(
    'kind, folder, records',
    [
        (SemanticKittiSegmentation, 'semantickitti_simulated', kitti_records({0: 6, 1: 6})),
        (WaymoSegmentation, 'waymo_simulated', waymo_records()),
    ],
)
def test_the_lists_of_simulated_data_fit_their_datasets_and_no_others(tmp_path, kind, folder, records):
    path = PUBLISHED / folder / 'uniform0_50.json'
    infos = write_infos(tmp_path / 'infos.pkl', records)
    dataset = kind(ann_file=str(infos), frame_list=str(path), pipeline=[])
    assert sorted(info['frame_id'] for info in dataset.data_list) == list(FrameList.read(path).frames)
    write_infos(infos, records[:-1])
    with pytest.raises(InputError, match=f'of a training set of {len(records)} frames for one of {len(records) - 1}'):
        kind(ann_file=str(infos), frame_list=str(path), pipeline=[])
