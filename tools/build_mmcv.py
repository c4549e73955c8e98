"""Build mmcv with its compiled operators for the installed torch: a wheel, which detection needs. make setup does so.

python tools/build_mmcv.py cpu | cuda | 9.0 [8.0 ...] | WHEEL [--out wheels] [--jobs 4] [--dry-run]

``cpu`` builds the operators that have CPU kernels alone, wherever it runs. Numbers are the architectures of the GPUs
that are to run them (9.0: H100), which need not be in the machine that builds; ``cuda`` takes those of the GPUs that
are. A WHEEL that was built elsewhere is not built but checked, as each built one is: it must load with this torch.
"""

import argparse
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

MMCV = 'mmcv==2.1.0'  # mmdet 3.2 and mmdet3d 1.4 refuse 2.2


NO_CUDA = 'not available'  # what operators without CUDA say of it
SAYS_CUDA = """
import importlib.util, sys
import torch  # its libraries are the operators', too
spec = importlib.util.spec_from_file_location('_ext', sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.get_compiling_cuda_version())
"""


def target(text: str) -> str:
    """Argparse's type of what to build for: a GPU's compute capability, a word, or a wheel in the place of building."""
    if text in ('cpu', 'cuda') or re.fullmatch(r'\d+\.\d[af]?(\+PTX)?', text):
        return text
    if text.endswith('.whl'):
        if Path(text).is_file():
            return text
        raise argparse.ArgumentTypeError(f'got {text!r}, which is not a file; expected a wheel of mmcv')
    raise argparse.ArgumentTypeError(f'got {text!r}; expected cpu, cuda, such as 9.0 or 9.0+PTX, or a wheel')


def architectures_here() -> list[str]:
    """Of this machine's GPUs, as their driver names them."""
    query = ['nvidia-smi', '--query-gpu=compute_cap', '--format=csv,noheader']
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        found = []
    if not found:
        sys.exit(
            'build_mmcv: cuda, where nvidia-smi shows no GPU. Remedy: name the architectures of the GPUs in its place, '
            'such as 8.0 9.0 (make setup MMCV=cuda CUDA_ARCHS="8.0 9.0")'
        )
    return sorted(set(found))


def problems(with_cuda: bool) -> Iterator[str]:
    """What a build needs and this machine lacks, each with its remedy; what hangs on torch only where torch is."""
    if not importlib.util.find_spec('torch'):
        yield 'torch is not installed in this Python. Remedy: pip install --no-deps -r requirements/modern.txt'
        return
    from torch.utils import cpp_extension

    compiler = cpp_extension.get_cxx_compiler()
    if not shutil.which(compiler):
        yield f'no C++ compiler {compiler}. Remedy: apt install g++, or set CXX'
    if not Path(sysconfig.get_path('include'), 'Python.h').is_file():
        yield "no Python.h. Remedy: install Python's development package (apt install python3-dev)"
    if not importlib.util.find_spec('pkg_resources'):
        yield "setuptools without pkg_resources, which mmcv's setup.py imports. Remedy: pip install 'setuptools<81'"
    if not cpp_extension.is_ninja_available():
        yield 'no ninja, without which one file after the other is compiled. Remedy: pip install ninja'
    if with_cuda:
        yield from cuda_problems()


def cuda_problems() -> Iterator[str]:
    """What compiling CUDA kernels needs besides."""
    import torch
    from torch.utils import cpp_extension

    wanted = torch.version.cuda
    if wanted is None:
        yield f'torch {torch.__version__}, built without CUDA. Remedy: install a CUDA build, or say cpu'
        return
    nvcc = Path(cpp_extension.CUDA_HOME or '', 'bin', 'nvcc')
    if not nvcc.is_file():
        yield (
            f'no nvcc. Remedy: install the CUDA toolkit {wanted}, the one that torch was built with, and set CUDA_HOME'
        )
        return
    found = re.search(r'release (\d+)\.', subprocess.check_output([nvcc, '--version'], text=True))[1]
    if found != wanted.split('.')[0]:
        yield (
            f'nvcc of CUDA {found} for a torch of CUDA {wanted}. Remedy: install that toolkit beside, and set CUDA_HOME'
        )


def build_variables(architectures: list[str], jobs: int) -> dict[str, str]:
    """What mmcv's setup.py and torch read from the environment."""
    with_cuda = architectures != ['cpu']
    return dict(
        MMCV_WITH_OPS='1',
        FORCE_CUDA=str(int(with_cuda)),
        MAX_JOBS=str(jobs),
        CFLAGS=f'{os.environ.get("CFLAGS", "")} -g0'.strip(),  # debug symbols double the compile time
        **(dict(TORCH_CUDA_ARCH_LIST=';'.join(architectures)) if with_cuda else dict(CUDA_VISIBLE_DEVICES='')),
    )


def pip_command(folder: str | Path, cached: bool = False) -> list[str]:
    """Without isolation, to compile against the installed torch; pip's cache knows of no torch, and of no CUDA."""
    options = ('--no-build-isolation', '--no-deps', *([] if cached else ['--no-cache-dir']), '--no-binary=mmcv')
    return [sys.executable, '-m', 'pip', 'wheel', '-v', *options, f'--wheel-dir={folder}', MMCV]


def fault(wheel: Path, with_cuda: bool | None) -> str | None:
    """What is wrong with a wheel: no operators, not for this torch, or not with or without CUDA as wanted."""
    try:
        with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
            names = [name for name in archive.namelist() if name.startswith('mmcv/_ext.')]
            if not names:
                return 'has no operators'
            loading = [sys.executable, '-c', SAYS_CUDA, archive.extract(names[0], folder)]
            loaded = subprocess.run(loading, capture_output=True, text=True)
    except zipfile.BadZipFile:
        return 'is no wheel'
    if loaded.returncode:
        return f'does not load with the installed torch ({loaded.stderr.strip().splitlines()[-1][:200]})'
    found = loaded.stdout.split('\n')[-2]
    if with_cuda is not None and (found != NO_CUDA) != with_cuda:
        return f'has operators {"without CUDA" if found == NO_CUDA else f"of CUDA {found}"}'
    return None


def build(out: Path, variables: dict[str, str]) -> Path:
    """Compile, check the wheel, and only then put it into ``out``.

    Operators without CUDA may come out of pip's cache, if what is there passes the check; the cache is not asked for
    those with CUDA, and does not get them.
    """
    out.mkdir(parents=True, exist_ok=True)
    with_cuda = variables['FORCE_CUDA'] == '1'
    wrong = ''
    for cached in (False,) if with_cuda else (True, False):
        with tempfile.TemporaryDirectory(dir=out) as temporary:
            if subprocess.run(pip_command(temporary, cached), env=os.environ | variables).returncode:
                sys.exit("build_mmcv: the build failed. Remedy: read pip's output above")
            [wheel] = Path(temporary).glob('mmcv-*.whl')
            wrong = fault(wheel, with_cuda)
            if wrong is None:
                os.replace(wheel, out / wheel.name)
                return out / wheel.name
    sys.exit(f"build_mmcv: {wheel.name} {wrong}. Remedy: read pip's output above")


def take(wheel: Path, out: Path | None) -> None:
    """Check a wheel that was built elsewhere, and copy it into ``out``, if one is given."""
    wrong = fault(wheel, with_cuda=None)
    if wrong is not None:
        sys.exit(
            f'build_mmcv: {wheel}, which {wrong}. Remedy: give a wheel of {MMCV} that was built for Python '
            f'{sys.version_info.major}.{sys.version_info.minor} and the installed torch, or cpu or cuda in its place'
        )
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, out)
    print(f'{wheel} loads with this torch')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('targets', nargs='+', type=target, metavar='TARGET', help='cpu, cuda, such as 9.0, or a wheel')
    parser.add_argument('--out', type=Path, default=Path('wheels'), help='folder for the wheel')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='files compiled at once; 2 GB of memory each')
    parser.add_argument('--dry-run', action='store_true', help='check the machine and print the command')
    args = parser.parse_args()
    alone = [word for word in args.targets if not word[0].isdigit() or word.endswith('.whl')]
    if alone and len(args.targets) > 1:
        parser.error(f'{alone[0]} stands alone: operators of a CUDA build run on a CPU, too')
    if alone and alone[0].endswith('.whl'):
        take(Path(alone[0]), None if args.dry_run else args.out)
        return
    architectures = architectures_here() if alone == ['cuda'] else args.targets
    variables = build_variables(architectures, args.jobs)
    if args.dry_run:
        print(shlex.join(['env', *(f'{name}={value}' for name, value in variables.items()), *pip_command(args.out)]))
    lacking = list(problems(with_cuda='cpu' not in architectures))
    if lacking:
        sys.exit('\n'.join(f'build_mmcv: {problem}' for problem in lacking))
    if not args.dry_run:
        wheel = build(args.out, variables)
        command = shlex.join(['pip', 'install', '--no-deps', '--force-reinstall', str(wheel)])
        print(f'{wheel} is built. Now: pip uninstall -y mmcv-lite mmcv && {command}')


if __name__ == '__main__':
    main()
