"""tools/prepare_waymo_segmentation.py as a user calls it, on a tiny simulated root."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from cleverdistiller.datasets import WaymoSegmentation
from conftest import REPO
from runs import run_script
from waymo_root import (
    FRAMES,
    LABELLED,
    expected_cloud,
    flip_the_last_bit,
    read_records,
    write_records,
    write_waymo_root,
)

PREPARE = REPO / 'tools' / 'prepare_waymo_segmentation.py'
PIPELINE = [
    dict(type='LoadLiDARSweep', load_dim=4, intensity_scale=1.0),
    dict(type='LoadPointLabels'),
]


@pytest.fixture(scope='module')
def simulated(tmp_path_factory, scene):
    """A root and what was seen in it; do not change the folder."""
    root = tmp_path_factory.mktemp('waymo')
    return root, write_waymo_root(root, scene)


@pytest.fixture(scope='module')
def prepared(simulated, tmp_path_factory):
    """The set that one undisturbed run makes; do not change the folder."""
    out = tmp_path_factory.mktemp('set')
    prepare(simulated[0], out)
    return out


@pytest.fixture
def root(simulated, tmp_path):
    """A root to change."""
    return shutil.copytree(simulated[0], tmp_path / 'root')


def prepare(root: Path, out: Path, *options) -> None:
    run_script(PREPARE, root, '--out', out, '--workers', 1, *options)


def refused(capsys, root: Path, out: Path, *options) -> str:
    with pytest.raises(SystemExit) as left:
        prepare(root, out, *options)
    assert left.value.code == 2
    return capsys.readouterr().err.partition('error: ')[2]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


def written(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob('*') if path.is_file() and path.suffix != '.pkl'}


def test_the_dataset_loads_what_was_simulated(simulated, prepared):
    scans = dict(train=simulated[1][:2], val=simulated[1][2:])
    for split, seen in scans.items():
        dataset = WaymoSegmentation(
            data_root=str(prepared), ann_file=f'waymo_infos_{split}.pkl', pipeline=PIPELINE, test_mode=split == 'val'
        )
        sweeps = [sweep for segment in seen for sweep in segment]
        assert len(dataset) == len(sweeps) == len(LABELLED) * len(seen)
        for sample, sweep in zip(dataset, sweeps):
            points, ids = expected_cloud(sweep)
            np.testing.assert_allclose(sample['points'].tensor, points, atol=0.002)
            np.testing.assert_array_equal(sample['pts_semantic_mask'], np.where(ids == 0, 22, ids - 1))


def test_the_info_file_names_frames_by_context_and_time(simulated, prepared):
    infos = pickle.loads((prepared / 'waymo_infos_train.pkl').read_bytes())
    assert infos['metainfo'] == dict(dataset='waymo', info_version='1.1')
    paths = sorted((simulated[0] / 'training').iterdir())
    frames = [read_records(path)[index] for path in paths for index in LABELLED]
    for index, (record, frame) in enumerate(zip(infos['data_list'], frames)):
        folder, micros = f'training/{frame.context.name}', frame.timestamp_micros
        assert record == dict(
            sample_idx=index,
            lidar_points=dict(lidar_path=f'{folder}/points/{micros}.bin', num_pts_feats=4),
            pts_semantic_mask_path=f'{folder}/labels/{micros}.label',
        )
        assert WaymoSegmentation.frame_id(record) == f'{frame.context.name}/{micros}'
    assert len(infos['data_list']) == len(frames)


def test_only_what_is_missing_is_done_again(root, prepared, tmp_path):
    out = shutil.copytree(prepared, tmp_path / 'set')
    before = written(out)
    prepare(root, out)
    assert written(out) == before
    notes = sorted((out / '.prepared' / 'training').iterdir())
    notes[0].unlink()
    prepare(root, out)
    again = {path for path, time in written(out).items() if time != before[path]}
    context = read_records(min((root / 'training').iterdir()))[0].context.name
    frames = set((out / 'training' / context).rglob('*.*'))
    assert again == {notes[0], *frames} and len(frames) == 2 * len(LABELLED)
    assert contents(out) == contents(prepared)


@pytest.mark.parametrize('harm', ['frame gone', 'frame short', 'note damaged'])
def test_damaged_results_are_mended(root, prepared, tmp_path, harm):
    out = shutil.copytree(prepared, tmp_path / 'set')
    if harm == 'note damaged':
        min((out / '.prepared' / 'validation').iterdir()).write_text('{"frames": []')
    else:
        path = min((out / 'validation').rglob('*.label' if harm == 'frame gone' else '*.bin'))
        path.write_bytes(path.read_bytes()[:-16])
        if harm == 'frame gone':
            path.unlink()
    prepare(root, out)
    assert contents(out) == contents(prepared)


def test_a_source_of_another_size_is_done_again(root, prepared, tmp_path):
    out = shutil.copytree(prepared, tmp_path / 'set')
    [source] = (root / 'validation').iterdir()
    write_records(source, read_records(source)[:3])
    prepare(root, out)
    assert len(pickle.loads((out / 'waymo_infos_val.pkl').read_bytes())['data_list']) == 1


def test_shards_make_the_same_set(root, prepared, tmp_path, capsys):
    out = tmp_path / 'set'
    prepare(root, out, '--shard', '0/2')  # of three record files the first and, alone in its split, the last
    said = capsys.readouterr().out
    assert 'training: 1 of 2 record files are not prepared yet' in said
    assert f'prepare_waymo_segmentation.py {root} --out {out} --splits training validation' in said
    assert not (out / 'waymo_infos_train.pkl').exists() and (out / 'waymo_infos_val.pkl').is_file()
    before = written(out)
    prepare(root, out, '--shard', '1/2')
    assert before.items() <= written(out).items()
    assert contents(out) == contents(prepared)


def test_a_worker_process_writes_the_same_and_names_what_is_damaged(root, prepared, tmp_path, capsys):
    [source] = (root / 'validation').iterdir()  # one file, so that one process starts: each imports for 15 s
    frames = read_records(source)
    frames[LABELLED[-1]].lasers[0].ri_return1.range_image_compressed = b'written so'  # its checksum is right
    write_records(source, frames)
    out = tmp_path / 'set'
    said = refused(capsys, root, out, '--splits', 'validation', '--workers', 2)
    assert f'1 damaged record files, such as\n    {source} (' in said
    made = contents(out)
    assert made.items() <= contents(prepared).items() and len(made) == 2  # the first frame, and no note


def test_damaged_files_are_named_and_the_others_kept(simulated, root, prepared, tmp_path, capsys):
    paths = sorted((root / 'training').iterdir())
    for path in paths:
        flip_the_last_bit(path)
    paths[1].write_bytes(paths[1].read_bytes()[:-5])
    out = tmp_path / 'set'
    said = refused(capsys, root, out)
    assert '2 damaged record files' in said and f'{paths[1]}, which ends within' in said
    assert f'{paths[0]}, whose record {FRAMES - 1}, counted from 0, is damaged' in said
    assert len(list((out / '.prepared').glob('*/*.json'))) == 1 and not list(out.glob('*.pkl'))
    assert not (out / 'training').exists()  # nothing of the damaged
    prepare(simulated[0], out)
    assert contents(out) == contents(prepared)


def test_segments_without_labels_are_counted(root, tmp_path, capsys):
    first, second = sorted((root / 'training').iterdir())
    write_records(first, read_records(first)[1:4])
    prepare(root, tmp_path / 'set')
    assert 'training: 2 labelled frames in 2 record files, 1 with none' in capsys.readouterr().out
    write_records(second, read_records(second)[1:4])
    said = refused(capsys, root, tmp_path / 'set')
    assert f'{root / "training"}: 2 record files without a frame' in said and 'v1.3' in said


def test_a_frame_in_two_files_is_refused(root, tmp_path, capsys):
    [source] = (root / 'validation').iterdir()
    copy = shutil.copy(source, source.with_name('copy.tfrecord'))
    said = refused(capsys, root, tmp_path / 'set')
    assert str(source) in said and str(copy) in said and '--splits' not in said
    assert not list((tmp_path / 'set').glob('*.pkl'))


def test_a_missing_or_empty_split_is_named_before_anything_is_written(root, tmp_path, capsys):
    shutil.rmtree(root / 'validation')
    assert f'{root / "validation"}, which is not a folder' in refused(capsys, root, tmp_path / 'set')
    (root / 'validation').mkdir()
    assert f'{root / "validation"}, without *.tfrecord' in refused(capsys, root, tmp_path / 'set')
    assert not (tmp_path / 'set').exists()
    prepare(root, tmp_path / 'set', '--splits', 'training')
    assert [path.name for path in (tmp_path / 'set').glob('*.pkl')] == ['waymo_infos_train.pkl']


@pytest.mark.parametrize('options', [('--shard', text) for text in ('2/2', '1', '-1/2', 'a/b')] + [('--workers', 0)])
def test_bad_numbers_are_named(simulated, tmp_path, capsys, options):
    said = refused(capsys, simulated[0], tmp_path / 'set', f'{options[0]}={options[1]}')
    assert f'{options[0]} {options[1]}' in said and not (tmp_path / 'set').exists()


def test_an_out_that_cannot_be_written_is_named(simulated, tmp_path, capsys):
    (tmp_path / 'set').write_text('')
    assert f'{tmp_path / "set"}' in refused(capsys, simulated[0], tmp_path / 'set')
