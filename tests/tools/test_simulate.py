"""tools/simulate.py as a user calls it."""

import pytest

from conftest import REPO
from runs import run_script

SIMULATE = REPO / 'tools' / 'simulate.py'


@pytest.mark.parametrize(
    'options, expected',
    [
        (('--format', 'av2'), 'nuscenes, kitti, semantickitti, waymo, images'),
        (('--scenes', 0), '1 or more'),
        (('--frames', 0), '1 or more'),
        (('--workers', 0), '1 or more'),
        (('--format', 'kitti', '--image-scale', 0.5), 'choose --format nuscenes or images'),
        (('--format', 'images', '--no-sweeps'), 'leave it out: there are none'),
        (('--format', 'semantickitti', '--scenes', 12), 'remedy'),
        (('--format', 'kitti', '--scenes', 1, '--frames', 1), 'remedy'),
    ],
    ids=lambda value: '_'.join(map(str, value)) if isinstance(value, tuple) else '',
)
def test_bad_arguments_get_one_clear_error_and_leave_nothing(tmp_path, capsys, options, expected):
    with pytest.raises(SystemExit) as left:
        run_script(SIMULATE, '--out', tmp_path / 'set', *options)
    said = capsys.readouterr().err
    assert left.value.code == 2 and expected in said and 'remedy' in said and 'Traceback' not in said
    assert not (tmp_path / 'set').exists()


def test_a_folder_with_something_else_is_refused_and_kept(tmp_path, capsys):
    (tmp_path / 'thesis.txt').write_text('years of work')
    with pytest.raises(SystemExit) as left:
        run_script(SIMULATE, '--out', tmp_path)
    assert left.value.code == 2 and 'nothing in it was touched' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['thesis.txt']


def test_a_small_set_is_written_then_left_alone(tmp_path, capsys):
    options = ('--out', tmp_path / 'set', '--format', 'kitti', '--scenes', 1, '--frames', 3, '--workers', 2)
    run_script(SIMULATE, *options)
    said = capsys.readouterr().out
    assert 'written in' in said and 'nothing about real roads' in said
    assert len(list((tmp_path / 'set').rglob('*.bin'))) == 3
    run_script(SIMULATE, *options)
    assert 'complete already' in capsys.readouterr().out
