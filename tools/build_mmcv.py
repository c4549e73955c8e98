"""Build mmcv with its compiled operators for the installed torch and given GPUs: a wheel, which detection needs.

python tools/build_mmcv.py 9.0 [8.0 ...] [--out wheels] [--jobs 4] [--dry-run]

``nvidia-smi --query-gpu=compute_cap --format=csv,noheader`` names a GPU's architecture (9.0: H100); ``cpu`` builds the
operators that have CPU kernels alone. The GPU need not be in the machine that builds.
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


def architecture(text: str) -> str:
    """Argparse's type of a GPU's compute capability."""
    if text != 'cpu' and not re.fullmatch(r'\d+\.\d[af]?(\+PTX)?', text):
        raise argparse.ArgumentTypeError(f'got {text!r}; expected such as 9.0, 9.0+PTX, or cpu')
    return text


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


def pip_command(folder: str | Path) -> list[str]:
    """Without isolation, to compile against the installed torch; without pip's cache, which knows of no torch."""
    options = ('--no-build-isolation', '--no-deps', '--no-cache-dir', '--no-binary=mmcv')
    return [sys.executable, '-m', 'pip', 'wheel', '-v', *options, f'--wheel-dir={folder}', MMCV]


def build(out: Path, variables: dict[str, str]) -> Path:
    """Compile, check that the operators are in the wheel, and only then put it into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as temporary:
        if subprocess.run(pip_command(temporary), env=os.environ | variables).returncode:
            sys.exit("build_mmcv: the build failed. Remedy: read pip's output above")
        [wheel] = Path(temporary).glob('mmcv-*.whl')
        with zipfile.ZipFile(wheel) as archive:
            if not any(name.startswith('mmcv/_ext.') for name in archive.namelist()):
                sys.exit(f"build_mmcv: {wheel.name} has no operators. Remedy: read pip's output above")
        os.replace(wheel, out / wheel.name)
    return out / wheel.name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('architectures', nargs='+', type=architecture, metavar='ARCH', help='such as 9.0; or cpu')
    parser.add_argument('--out', type=Path, default=Path('wheels'), help='folder for the wheel')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='files compiled at once; 2 GB of memory each')
    parser.add_argument('--dry-run', action='store_true', help='check the machine and print the command')
    args = parser.parse_args()
    if 'cpu' in args.architectures and len(args.architectures) > 1:
        parser.error('cpu stands alone: operators of a CUDA build run on a CPU, too')
    variables = build_variables(args.architectures, args.jobs)
    if args.dry_run:
        print(shlex.join(['env', *(f'{name}={value}' for name, value in variables.items()), *pip_command(args.out)]))
    lacking = list(problems(with_cuda='cpu' not in args.architectures))
    if lacking:
        sys.exit('\n'.join(f'build_mmcv: {problem}' for problem in lacking))
    if not args.dry_run:
        wheel = build(args.out, variables)
        print(f'{wheel} is built. Now: pip uninstall -y mmcv-lite mmcv && pip install --no-deps {wheel}')


if __name__ == '__main__':
    main()
