"""What make would do for each way to come by mmcv's operators; nothing is installed."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import REPO

pytestmark = pytest.mark.skipif(not shutil.which('make'), reason='no make')
PATH = '/usr/bin:/bin'


def make(*words: str, **environment: str) -> subprocess.CompletedProcess:
    clean = {name: value for name, value in os.environ.items() if name not in ('MMCV', 'CUDA_ARCHS', 'MAKEFLAGS')}
    command = ['make', '--no-print-directory', 'PYTHON=true', *words]
    return subprocess.run(command, cwd=REPO, env=clean | environment, capture_output=True, text=True)


def planned(venv: Path, *words: str, goal: str = 'setup') -> str:
    done = make('-n', goal, f'VENV={venv}', *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def builds(text: str) -> list[str]:
    """What the builder is asked for, each time once for the check and once for the work."""
    words = [line.partition('build_mmcv.py ')[2] for line in text.splitlines() if 'build_mmcv.py' in line]
    return [each.partition(' --')[0] for each in words]


def set_up(venv: Path, way: str) -> None:
    venv.mkdir(exist_ok=True)
    (venv / '.installed').write_text(way)


def test_a_new_environment_gets_operators_for_the_cpu_whatever_the_machine_has(tmp_path):
    assert builds(planned(tmp_path / 'venv')) == ['cpu', 'cpu']
    assert builds(planned(tmp_path / 'venv', 'MMCV=cpu')) == ['cpu', 'cpu']


def test_set_up_is_what_make_does_by_default(tmp_path):
    done = make('-n', f'VENV={tmp_path / "venv"}')
    assert builds(done.stdout) == ['cpu', 'cpu']


def test_cuda_is_for_the_gpus_here_or_for_those_that_are_named(tmp_path):
    assert builds(planned(tmp_path / 'venv', 'MMCV=cuda')) == ['cuda', 'cuda']
    assert builds(planned(tmp_path / 'venv', 'MMCV=cuda', 'CUDA_ARCHS=8.0 9.0')) == ['8.0 9.0', '8.0 9.0']


@pytest.mark.parametrize('name', ['mmcv.whl', "o'brien's mmcv #1 ü.whl"])
def test_a_wheel_may_be_given_wherever_it_lies(tmp_path, name):
    (tmp_path / name).touch()
    first, second = builds(planned(tmp_path / 'venv', f'MMCV={tmp_path / name}'))
    assert shlex.split(first) == shlex.split(second) == [str(tmp_path / name)]


@pytest.mark.parametrize('way', ['', 'cpu\n', 'cuda\n', '8.0 9.0\n'])
def test_what_is_there_stays_where_nothing_else_is_asked_for(tmp_path, way):
    """An empty stamp is of a Makefile that kept no way."""
    set_up(tmp_path / 'venv', way)
    assert builds(planned(tmp_path / 'venv')) == []
    os.utime(tmp_path / 'venv' / '.installed', (0, 0))  # older than the requirements
    assert builds(planned(tmp_path / 'venv')) == [way.strip() or 'cpu'] * 2


@pytest.mark.parametrize(
    ('way', 'words', 'wanted'),
    [
        ('cpu', ['MMCV=cuda', 'CUDA_ARCHS=9.0'], '9.0'),
        ('9.0', ['MMCV=cuda', 'CUDA_ARCHS=8.0 9.0'], '8.0 9.0'),
        ('9.0', ['MMCV=cpu'], 'cpu'),
        ('', ['MMCV=cpu'], 'cpu'),
        ('cuda', ['MMCV=cuda'], None),
        ('8.0 9.0', ['MMCV=cuda', 'CUDA_ARCHS=8.0 9.0'], None),
        ('/dev/null.whl', ['MMCV=/dev/null.whl'], "'/dev/null.whl'"),  # of the same name, but perhaps another
    ],
)
@pytest.mark.parametrize('goal', ['setup', 'test'])
def test_another_way_builds_and_installs_anew_and_the_same_does_nothing(tmp_path, way, words, wanted, goal):
    set_up(tmp_path / 'venv', way)
    text = planned(tmp_path / 'venv', *words, goal=goal)
    assert builds(text) == ([] if wanted is None else [wanted, wanted])
    assert ('--force-reinstall' in text) == (wanted is not None)


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['MMCV=cuda'], 'got MMCV=cuda without nvcc. Remedy: '),
        (['MMCV=gpu'], 'got MMCV=gpu. Remedy: say MMCV=cpu'),
        (["MMCV=o'brien"], "got MMCV=o'brien. Remedy: say MMCV=cpu"),
        (['MMCV=/no such/mmcv.whl'], 'got MMCV=/no such/mmcv.whl, which is not a file. Remedy: '),
        (['CUDA_ARCHS=9.0'], 'got CUDA_ARCHS=9.0 without MMCV=cuda. Remedy: '),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_downloaded(tmp_path, words, said):
    done = make('setup', f'VENV={tmp_path / "venv"}', *words, PATH=PATH, CUDA_HOME=str(tmp_path))
    assert done.returncode and said in done.stdout + done.stderr
    assert not (tmp_path / 'venv').exists()


@pytest.mark.parametrize('name', ["o'brien", 'a b', 'a"b', 'a&b', 'a;b'])
def test_a_path_that_make_would_take_apart_is_refused_by_name(tmp_path, name):
    done = make('setup', f'VENV={tmp_path / name}')
    assert done.returncode == 2 and f'got VENV={tmp_path / name}, expected a path without' in done.stderr


@pytest.mark.parametrize('name', ['a#b', 'ü', 'a-b_c.d'])
def test_an_environment_may_have_other_signs_in_its_path(tmp_path, name):
    assert f'true -m venv {tmp_path / name}\n' in planned(tmp_path / name)


@pytest.mark.parametrize('name', ["/x/o'brien/w.pth", '/x y/w.pth', '/x;y/ü.pth', '$(touch x).pth'])
def test_any_path_may_be_the_demo_s_checkpoint(tmp_path, name):
    set_up(tmp_path / 'venv', 'cpu')
    text = planned(tmp_path / 'venv', f'CHECKPOINT={name.replace("$", "$$")}', goal='demo')
    assert shlex.split(text)[-1] == name
