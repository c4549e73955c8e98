"""tools/visualize.py and tools/rankme.py as a user calls them."""

import json

import pytest
from mmdet3d.registry import MODELS
from mmengine.config import Config
from PIL import Image
from safetensors.torch import save_file

from conftest import REPO
from runs import run_script, write_config

VISUALIZE, RANKME = REPO / 'tools' / 'visualize.py', REPO / 'tools' / 'rankme.py'


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as left:
        run_script(*arguments)
    assert left.value.code == 2
    return capsys.readouterr().err


def test_pairs_are_drawn(tmp_path, frames_dir, capsys):
    config, out = write_config(tmp_path, frames_dir), tmp_path / 'pairs.png'
    run_script(VISUALIZE, 'pairs', config, '--size', 90, 160, '--out', out)
    assert 'pairs of' in capsys.readouterr().out and Image.open(out).size == (3 * 160, 90)
    said = refused(capsys, VISUALIZE, 'pairs', config, '--index', 99, '--out', out)
    assert 'remedy' in said and 'Traceback' not in said


@pytest.mark.needs_sparse_conv
def test_rankme_of_an_exported_student_needs_no_teacher(tmp_path, frames_dir, capsys):
    config = write_config(tmp_path, frames_dir)
    student = MODELS.build(Config.fromfile(config).model.student)
    save_file(dict(student.state_dict()), tmp_path / 'student.safetensors')
    arguments = (RANKME, config, tmp_path / 'student.safetensors', '--cfg-options')
    run_script(*arguments, 'model.teacher.weights=/no/such/file')
    numbers = json.loads((tmp_path / 'student.rankme.json').read_text())
    assert 1 <= numbers['rank/rankme'] <= 49 and numbers['rank/num_points'] == 512
    assert numbers['made_from']['checkpoint'].endswith('student.safetensors')
    assert 'of another shape' in refused(capsys, *arguments, 'model.student.width=32')


@pytest.mark.needs_sparse_conv
def test_rankme_of_random_weights_is_that_of_the_seed(tmp_path, frames_dir, capsys):
    config, out = write_config(tmp_path, frames_dir), tmp_path / 'random.json'

    def rank(seed: int) -> float:
        run_script(RANKME, config, 'random', '--out', out, '--cfg-options', f'randomness.seed={seed}')
        return json.loads(out.read_text())['rank/rankme']

    assert rank(0) == rank(0) != rank(1)
    assert 'no --out' in refused(capsys, RANKME, config, 'random')
