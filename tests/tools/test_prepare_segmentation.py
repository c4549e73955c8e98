"""tools/prepare_segmentation.py as a user calls it."""

import shutil
from pathlib import Path

import mmengine
import pytest
from mmdet3d.registry import DATASETS

from conftest import REPO
from runs import run_script
from scan_roots import SETS, write_scan_root

TOOL = REPO / 'tools' / 'prepare_segmentation.py'


def written_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob('*') if 'infos' in path.name)


@pytest.mark.parametrize('dataset', SETS)
def test_every_split_is_written_and_counted(tmp_path, capsys, dataset):
    frames = write_scan_root(dataset, tmp_path)
    run_script(TOOL, dataset, tmp_path)
    said = capsys.readouterr().out
    assert written_below(tmp_path) == sorted(f'{dataset}_infos_{split}.pkl' for split in frames)
    for split, rows in frames.items():
        path = tmp_path / f'{dataset}_infos_{split}.pkl'
        assert f'{len(rows)} frames: {path}' in said
        records = mmengine.load(path)['data_list']
        assert records[-1] == dict(
            sample_idx=len(rows) - 1,
            lidar_points=dict(lidar_path=rows[-1].scan_name, num_pts_feats=SETS[dataset].columns),
            pts_semantic_mask_path=rows[-1].mask_name,
        )
        built = DATASETS.build(dict(type=SETS[dataset].type, data_root=str(tmp_path), ann_file=path.name))
        assert len(built) == len(rows)
    assert 'simulated' not in said


def test_out_and_prefix(tmp_path):
    write_scan_root('semanticstf', tmp_path / 'root')
    run_script(TOOL, 'semanticstf', tmp_path / 'root', '--out', tmp_path / 'a' / 'b', '--prefix', 'snow')
    assert written_below(tmp_path / 'a') == ['snow_infos_test.pkl', 'snow_infos_train.pkl', 'snow_infos_val.pkl']
    assert written_below(tmp_path / 'root') == []


def test_bad_files_are_counted_five_are_named_and_nothing_is_written(tmp_path, capsys):
    frames = write_scan_root('daps3d', tmp_path)
    run_script(TOOL, 'daps3d', tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.glob('*.pkl')}
    for frame in frames['train'][:7]:
        (tmp_path / frame.mask_name).write_bytes(bytes(4))
    with pytest.raises(SystemExit) as left:
        run_script(TOOL, 'daps3d', tmp_path)
    said = capsys.readouterr().err
    assert left.value.code == 2 and 'Traceback' not in said
    assert f'7 bad files of 44 in {tmp_path}' in said and said.count('(1 labels for ') == 5
    assert f'{frames["train"][0].mask_name} (1 labels for {len(frames["train"][0].raw)} points)' in said
    assert {path: path.read_bytes() for path in tmp_path.glob('*.pkl')} == before


def test_only_a_simulated_root_may_lack_sequences(tmp_path, capsys):
    write_scan_root('semantickitti', tmp_path)
    for sequence in ('02', '03', '04', '05', '06', '07', '09', '10'):
        shutil.rmtree(tmp_path / 'sequences' / sequence)
    with pytest.raises(SystemExit):
        run_script(TOOL, 'semantickitti', tmp_path)
    assert 'without sequences/02/velodyne' in capsys.readouterr().err
    (tmp_path / 'simulation.json').write_text('{}')
    run_script(TOOL, 'semantickitti', tmp_path)
    said = capsys.readouterr().out
    assert 'simulated: train is of the sequences that are there, 00, 01' in said and '4 frames: ' in said


def test_out_that_cannot_be_written(tmp_path, capsys):
    write_scan_root('semanticstf', tmp_path / 'root')
    (tmp_path / 'a_file').write_text('')
    with pytest.raises(SystemExit):
        run_script(TOOL, 'semanticstf', tmp_path / 'root', '--out', tmp_path / 'a_file' / 'b')
    said = capsys.readouterr().err
    assert 'cannot be written' in said and '--out' in said
