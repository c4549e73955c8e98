"""tools/visualize.py frame as a user calls it."""

import pytest
from PIL import Image

from conftest import REPO
from nuscenes_root import write_nuscenes_root
from runs import run_script

VISUALIZE = REPO / 'tools' / 'visualize.py'


def test_a_frame_is_drawn_and_told(tmp_path, capsys):
    root, out = write_nuscenes_root(tmp_path / 'root', lidarseg=True), tmp_path / 'sheets' / 'frame.png'
    run_script(VISUALIZE, 'frame', root, '--index', 1, '--points', '--out', out)
    said = capsys.readouterr().out
    assert 'scene-0061' in said and '2880 points' in said and 'simulated' not in said
    real = Image.open(out).size
    (root / 'simulation.json').write_text('{}')
    run_script(VISUALIZE, 'frame', root, '--format', 'nuscenes', '--version', 'v1.0-mini', '--out', out)
    assert 'simulated: says nothing about real roads' in capsys.readouterr().out
    assert Image.open(out).height > real[1]  # the banner


@pytest.mark.parametrize(
    'options', [('--index', 99), ('--format', 'argoverse'), ('--version', 'v9'), ('--reach', 0)], ids=lambda o: o[0]
)
def test_what_cannot_be_drawn_is_refused_with_a_remedy(tmp_path, capsys, options):
    root, out = write_nuscenes_root(tmp_path), tmp_path / 'frame.png'
    with pytest.raises(SystemExit) as left:
        run_script(VISUALIZE, 'frame', root, *options, '--out', out)
    said = capsys.readouterr().err
    assert left.value.code == 2 and 'remedy' in said and 'Traceback' not in said and not out.exists()


@pytest.mark.parametrize('name', ['frame.gif', 'frame', 'a_file/frame.png'])
def test_a_picture_that_cannot_be_written_is_told(tmp_path, capsys, name):
    root = write_nuscenes_root(tmp_path / 'root')
    (tmp_path / 'a_file').write_text('')
    with pytest.raises(SystemExit) as left:
        run_script(VISUALIZE, 'frame', root, '--out', tmp_path / name)
    said = capsys.readouterr().err
    assert left.value.code == 2 and name in said and 'remedy' in said and 'Traceback' not in said


def test_a_jpeg_is_a_jpeg(tmp_path):
    root = write_nuscenes_root(tmp_path / 'root')
    run_script(VISUALIZE, 'frame', root, '--out', tmp_path / 'frame.jpg')
    assert Image.open(tmp_path / 'frame.jpg').format == 'JPEG'
