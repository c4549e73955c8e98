"""What is installed, what it can do here, and what to do about each problem.

python tools/doctor.py
"""

import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from cleverdistiller.compat import missing_operators
from cleverdistiller.errors import InputError
from cleverdistiller.ops.sparse_conv import largest_error_against_dense, load_backend

REQUIREMENTS = Path(__file__).parents[1] / 'requirements'
STACK = 'modern' if sys.version_info >= (3, 12) else 'reference'
PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmdet3d', 'timm', 'numpy', 'nuscenes-devkit', 'safetensors')
EXACT = 1e-4


def report(state: str, what: str, remedy: str = '') -> bool:
    """Print one line, and the remedy below it; return whether all is well."""
    print(f'[{state:4s}] {what}' + (f'\n       remedy: {remedy}' if remedy else ''))
    return state != 'FAIL'


def pinned_versions() -> dict[str, str]:
    """The versions that were tested together, by package."""
    lines = (REQUIREMENTS / f'{STACK}.txt').read_text().splitlines()
    return dict(line.split('==') for line in lines if '==' in line and not line.startswith('#'))


def installed_version(name: str) -> str | None:
    """Of a package, or of mmcv without operators in the place of mmcv; None where it is not installed."""
    for each in (name, f'{name}-lite'):
        try:
            return version(each)
        except PackageNotFoundError:
            continue
    return None


def check_packages() -> bool:
    """Compare the installed versions with those of the stack for this Python."""
    well = True
    pinned = pinned_versions()
    for name in PACKAGES:
        wanted, found = pinned.get(name) or pinned[f'{name}-lite'], installed_version(name)
        if found is None:
            well &= report('FAIL', f'{name} is not installed', f'make setup, or pip install {name}=={wanted}')
            continue
        same = found.split('+')[0] == wanted
        report('ok' if same else 'note', f'{name} {found}' + ('' if same else f' ({STACK}: {wanted})'))
    return well


def check_mmcv_operators(device: torch.device) -> bool:
    """mmcv-lite has no compiled operators, a build for another torch does not load, and a GPU wants CUDA's."""
    reason = missing_operators()
    if reason is None:
        return check_mmcv_on(device)
    try:
        version('mmcv')
    except PackageNotFoundError:
        return report(
            'note',
            'mmcv-lite, without compiled operators: pretraining and segmentation run, detection does not',
            'tools/build_mmcv.py builds mmcv with them (docs/install.md)',
        )
    return report(
        'FAIL',
        f"mmcv's compiled operators do not load ({reason})",
        'build mmcv again for the installed torch: tools/build_mmcv.py, or make setup',
    )


def check_mmcv_on(device: torch.device) -> bool:
    """Operators without CUDA load everywhere, and detection on a GPU stops at the first of them."""
    from mmcv.ops import furthest_point_sample, get_compiling_cuda_version

    made_for = get_compiling_cuda_version()
    without = made_for == 'not available'
    if device.type == 'cpu':
        kind = 'without CUDA: detection runs on a CPU alone' if without else f'CUDA {made_for}'
        return report('ok', f"mmcv's compiled operators load ({kind})")
    reason = 'they were compiled without CUDA'
    if not without:
        try:
            furthest_point_sample(torch.rand(1, 8, 3, device=device), 2)
            torch.cuda.synchronize(device)
            return report('ok', f"mmcv's compiled operators run on the GPU (CUDA {made_for})")
        except RuntimeError as error:  # for another GPU's architecture, say
            reason = f'CUDA {made_for}: {str(error).splitlines()[0]}'
    return report(
        'FAIL',
        f"mmcv's compiled operators do not run on this GPU ({reason}): pretraining and segmentation work, "
        'detection does not',
        'make setup MMCV=cuda, or in another environment tools/build_mmcv.py cuda (docs/install.md)',
    )


def check_device() -> torch.device:
    """Say what computes here."""
    if torch.cuda.is_available():
        memory_gib = torch.cuda.get_device_properties(0).total_memory / 2**30
        report(
            'ok',
            f'GPU: {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, {memory_gib:.0f} GiB, '
            f'CUDA {torch.version.cuda}',
        )
        return torch.device('cuda')
    driver = shutil.which('nvidia-smi')
    report(
        'note',
        'no GPU: everything runs on the CPU, too slowly for nuScenes pretraining',
        "an NVIDIA driver is installed but torch cannot use it: match torch's CUDA to the driver"
        if driver
        else 'use a machine with an NVIDIA GPU for real runs; configs/pretrain/keyframe.py '
        'and configs/demo work here (other configs train in half precision: replace optim_wrapper as these do)',
    )
    return torch.device('cpu')


def check_sparse_convolution(device: torch.device) -> bool:
    """Choose the backend as training would and compare it with dense convolution."""
    try:
        backend = load_backend()
    except InputError as error:
        return report('FAIL', f'sparse convolution: {error}')
    error = largest_error_against_dense(backend, device)
    where = f'sparse convolution: {backend.name} ({backend.reason}) on {device.type}'
    if error < EXACT:
        return report('ok', f'{where}, exact: largest difference to dense convolution {error:.1e}')
    return report(
        'FAIL',
        f'{where} is WRONG: it differs from dense convolution by {error:.1e}',
        'pip uninstall spconv cumm; pip install spconv-cu120==2.3.6',
    )


def main() -> None:
    report('ok', f'Python {platform.python_version()} on {platform.machine()}, {torch.get_num_threads()} threads')
    well = check_packages()
    device = check_device()
    well &= check_mmcv_operators(device)
    well &= check_sparse_convolution(device)
    print('All is well.' if well else 'Mend the lines marked FAIL.')
    sys.exit(not well)


if __name__ == '__main__':
    main()
