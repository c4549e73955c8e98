"""tools/visualize.py and tools/rankme.py as a user calls them."""

import json
import subprocess
import sys

from mmdet3d.registry import MODELS
from mmengine.config import Config
from PIL import Image
from safetensors.torch import save_file

from conftest import REPO
from runs import write_config


def tool(name: str, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(REPO / 'tools' / name), *map(str, arguments)], text=True, capture_output=True
    )


def test_pairs_are_drawn(tmp_path, frames_dir):
    config, out = write_config(tmp_path, frames_dir), tmp_path / 'pairs.png'
    done = tool('visualize.py', 'pairs', config, '--size', 90, 160, '--out', out)
    assert done.returncode == 0, done.stderr
    assert 'pairs of' in done.stdout and Image.open(out).size == (3 * 160, 90)
    done = tool('visualize.py', 'pairs', config, '--index', 99, '--out', out)
    assert done.returncode == 2 and 'remedy' in done.stderr and 'Traceback' not in done.stderr


def test_rankme_of_an_exported_student_needs_no_teacher(tmp_path, frames_dir):
    config = write_config(tmp_path, frames_dir)
    student = MODELS.build(Config.fromfile(config).model.student)
    save_file(dict(student.state_dict()), tmp_path / 'student.safetensors')
    done = tool(
        'rankme.py', config, tmp_path / 'student.safetensors', '--cfg-options', 'model.teacher.weights=/no/such/file'
    )
    assert done.returncode == 0, done.stderr
    numbers = json.loads((tmp_path / 'student.rankme.json').read_text())
    assert 1 <= numbers['rank/rankme'] <= 49 and numbers['rank/num_points'] == 512
    assert numbers['made_from']['checkpoint'].endswith('student.safetensors')
    done = tool('rankme.py', config, tmp_path / 'student.safetensors', '--cfg-options', 'model.student.width=32')
    assert done.returncode == 2 and 'of another shape' in done.stderr
