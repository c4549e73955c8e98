"""tools/build_mmcv.py with a pip that packs a wheel without compiling it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch.utils import cpp_extension

from conftest import REPO
from runs import run_script

BUILD = REPO / 'tools' / 'build_mmcv.py'
WHEEL = 'mmcv-2.1.0-cp312-cp312-linux_x86_64.whl'


def write_nvcc(home: Path, release: str) -> None:
    nvcc = home / 'bin' / 'nvcc'
    nvcc.parent.mkdir(parents=True, exist_ok=True)
    nvcc.write_text(f'#!/bin/sh\necho Cuda compilation tools, release {release}, V{release}.88\n')
    nvcc.chmod(0o755)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Has all that a build needs."""
    write_nvcc(tmp_path / 'cuda', '13.0')
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setattr(cpp_extension, 'CUDA_HOME', str(tmp_path / 'cuda'))
    monkeypatch.setattr(cpp_extension, 'get_cxx_compiler', lambda: 'sh')
    monkeypatch.setattr(cpp_extension, 'is_ninja_available', lambda: True)
    return tmp_path


@pytest.fixture
def pip(monkeypatch):
    """The environments and commands of its runs; ``packs`` is what a wheel holds, nothing for a build that fails.

    ``says`` are the operators' words about CUDA, one for each check of a wheel; without, they are what was built.
    """
    stock, runs = subprocess.run, []

    class Pip:
        packs, environments = ('mmcv/__init__.py', 'mmcv/_ext.cpython-312-x86_64-linux-gnu.so'), runs
        commands, says = [], []

    def run(command, *args, **kwargs):
        if command[0] != sys.executable:
            return stock(command, *args, **kwargs)
        if '-c' in command:  # loads the operators
            assert Path(command[-1]).name.startswith('_ext.')
            built = '13.0' if runs and runs[-1]['FORCE_CUDA'] == '1' else 'not available'
            said = Pip.says.pop(0) if Pip.says else built
            if 'Error' in said:
                return subprocess.CompletedProcess(command, 1, '', f'Traceback\n  ...\n{said}\n')
            return subprocess.CompletedProcess(command, 0, f'torch greets\n{said}\n', '')
        runs.append(kwargs['env'])
        Pip.commands.append(command)
        [folder] = [word.partition('=')[2] for word in command if word.startswith('--wheel-dir=')]
        if Pip.packs:
            with zipfile.ZipFile(Path(folder) / WHEEL, 'w') as archive:
                for name in Pip.packs:
                    archive.writestr(name, '')
        return subprocess.CompletedProcess(command, returncode=not Pip.packs)

    monkeypatch.setattr(subprocess, 'run', run)
    return Pip


def refused(*arguments) -> str:
    with pytest.raises(SystemExit) as left:
        run_script(BUILD, *arguments)
    return str(left.value)


def test_a_wheel_with_operators_for_two_gpus_is_kept(machine, pip, capsys):
    run_script(BUILD, '9.0', '12.0+PTX', '--out', machine / 'wheels', '--jobs', 3)
    assert [path.name for path in (machine / 'wheels').iterdir()] == [WHEEL]
    [environment] = pip.environments
    wanted = dict(MMCV_WITH_OPS='1', FORCE_CUDA='1', TORCH_CUDA_ARCH_LIST='9.0;12.0+PTX', MAX_JOBS='3')
    assert wanted.items() <= environment.items()
    assert f'pip install --no-deps --force-reinstall {machine / "wheels" / WHEEL}' in capsys.readouterr().out
    assert '--no-cache-dir' in pip.commands[0]


def test_a_build_for_the_cpu_needs_no_toolkit(machine, pip, monkeypatch):
    monkeypatch.setattr(cpp_extension, 'CUDA_HOME', None)
    run_script(BUILD, 'cpu', '--out', machine / 'wheels')
    [environment] = pip.environments
    assert environment['FORCE_CUDA'] == '0' and environment['CUDA_VISIBLE_DEVICES'] == ''
    assert (machine / 'wheels' / WHEEL).is_file()


@pytest.mark.parametrize(('packs', 'reason'), [(('mmcv/__init__.py',), 'no operators'), ((), 'the build failed')])
def test_a_wheel_without_operators_is_not_kept(machine, pip, packs, reason):
    pip.packs = packs
    assert reason in refused('9.0', '--out', machine / 'wheels')
    assert list((machine / 'wheels').iterdir()) == []


@pytest.mark.parametrize(
    ('owner', 'name', 'value', 'reason'),
    [
        (cpp_extension, 'get_cxx_compiler', lambda: 'no-such-compiler', 'no C++ compiler no-such-compiler'),
        (cpp_extension, 'is_ninja_available', lambda: False, 'no ninja'),
        (cpp_extension, 'CUDA_HOME', None, 'no nvcc'),
        (torch.version, 'cuda', '12.1', 'nvcc of CUDA 13 for a torch of CUDA 12.1'),
        (torch.version, 'cuda', None, 'built without CUDA'),
    ],
)
def test_what_is_missing_is_named_with_a_remedy_before_anything_is_built(
    machine, pip, monkeypatch, owner, name, value, reason
):
    monkeypatch.setattr(owner, name, value)
    text = refused('9.0', '--out', machine / 'wheels')
    assert reason in text and 'Remedy: ' in text and len(text.splitlines()) == 1
    assert pip.environments == []


def test_a_dry_run_prints_the_command_and_builds_nothing(machine, pip, capsys):
    run_script(BUILD, '9.0', '--dry-run', '--out', machine / 'wheels')
    text = capsys.readouterr().out
    assert 'TORCH_CUDA_ARCH_LIST=9.0' in text and text.rstrip().endswith('mmcv==2.1.0')
    assert pip.environments == [] and not (machine / 'wheels').exists()


def write_wheel(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, 'w') as archive:
        for name in names:
            archive.writestr(name, '')
    return path


@pytest.mark.parametrize('cached', ['12.1', 'ImportError: undefined symbol'])
def test_what_pip_has_kept_of_another_torch_or_with_cuda_is_built_anew(machine, pip, cached):
    pip.says = [cached]
    run_script(BUILD, 'cpu', '--out', machine / 'wheels')
    assert ['--no-cache-dir' in command for command in pip.commands] == [False, True]
    assert (machine / 'wheels' / WHEEL).is_file()


def test_operators_without_cuda_are_not_kept_where_cuda_was_asked_for(machine, pip):
    """mmcv's setup.py builds such without a word."""
    pip.says = ['not available']
    assert 'has operators without CUDA' in refused('9.0', '--out', machine / 'wheels')
    assert list((machine / 'wheels').iterdir()) == []


@pytest.mark.parametrize(('shown', 'wanted'), [('9.0\n8.0\n9.0\n', '8.0;9.0'), ('8.6\n', '8.6')])
def test_cuda_is_for_the_gpus_of_this_machine(machine, pip, monkeypatch, shown, wanted):
    folder = machine / 'bin'
    folder.mkdir()
    (folder / 'nvidia-smi').write_text(f'#!/bin/sh\nprintf "{shown}"\n')
    (folder / 'nvidia-smi').chmod(0o755)
    monkeypatch.setenv('PATH', f'{folder}:/usr/bin:/bin')
    run_script(BUILD, 'cuda', '--out', machine / 'wheels')
    assert pip.environments[0]['TORCH_CUDA_ARCH_LIST'] == wanted


@pytest.mark.parametrize('answer', [None, '#!/bin/sh\nexit 9\n', '#!/bin/sh\n'])
def test_cuda_without_a_gpu_asks_for_architectures(machine, pip, monkeypatch, answer):
    folder = machine / 'bin'
    folder.mkdir()
    if answer is not None:
        (folder / 'nvidia-smi').write_text(answer)
        (folder / 'nvidia-smi').chmod(0o755)
    monkeypatch.setenv('PATH', f'{folder}' if answer is None else f'{folder}:/usr/bin:/bin')
    assert 'shows no GPU. Remedy: name the architectures' in refused('cuda', '--out', machine / 'wheels')
    assert pip.environments == []


@pytest.mark.parametrize('says', ['not available', '12.1'])
def test_a_wheel_of_elsewhere_that_loads_is_taken(machine, pip, says):
    pip.says = [says, says]
    wheel = write_wheel(machine / WHEEL, 'mmcv/__init__.py', 'mmcv/_ext.so')
    run_script(BUILD, wheel, '--out', machine / 'wheels', '--dry-run')
    assert not (machine / 'wheels').exists()
    run_script(BUILD, wheel, '--out', machine / 'wheels')
    assert (machine / 'wheels' / WHEEL).is_file() and pip.environments == []


@pytest.mark.parametrize(
    ('names', 'says', 'reason'),
    [
        (('mmcv/__init__.py',), '12.1', 'has no operators'),
        (('mmcv/_ext.so',), 'ImportError: undefined symbol: _ZN3c10', 'does not load with the installed torch (Import'),
        ((), '12.1', 'is no wheel'),
    ],
)
def test_a_wheel_of_elsewhere_that_does_not_fit_is_refused(machine, pip, names, says, reason):
    pip.says = [says]
    wheel = write_wheel(machine / WHEEL, *names)
    if not names:
        wheel.write_text('404')
    text = refused(wheel, '--out', machine / 'wheels')
    assert reason in text and str(wheel) in text and 'Remedy: ' in text
    assert not (machine / 'wheels').exists()


@pytest.mark.parametrize(
    'words',
    [('sm_90',), ('9',), ('cpu', '9.0'), ('9.0', 'cuda'), ('cpu', 'cuda'), ('none.whl',), ('gpu',)],
    ids=' '.join,
)
def test_an_architecture_that_is_none_is_refused(words, capsys):
    assert refused(*words) == '2'
    assert 'error: ' in capsys.readouterr().err
