import runpy
import sys
from importlib.metadata import version as real_version

import pytest
import torch

from cleverdistiller.ops import sparse_conv
from conftest import REPO


def doctor(monkeypatch, capsys) -> tuple[bool, str]:
    monkeypatch.setattr(sys, 'argv', ['doctor.py'])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(REPO / 'tools' / 'doctor.py'), run_name='__main__')
    return not left.value.code, capsys.readouterr().out


@pytest.mark.needs_sparse_conv
def test_a_sound_machine_is_told_so(monkeypatch, capsys):
    well, text = doctor(monkeypatch, capsys)
    assert well and 'exact' in text and 'mmdet3d 1.4.0' in text and 'spconv (' in text


@pytest.fixture
def check_mmcv_on():
    return runpy.run_path(str(REPO / 'tools' / 'doctor.py'))['check_mmcv_on']


class GPU:
    """Where no operator runs that is not asked to."""

    type = 'cuda'


@pytest.mark.needs_mmcv_ops
def test_operators_without_cuda_fail_where_a_gpu_is_and_only_there(check_mmcv_on, monkeypatch, capsys):
    monkeypatch.setattr('mmcv.ops.get_compiling_cuda_version', lambda: 'not available')
    assert check_mmcv_on(torch.device('cpu'))
    assert '[ok  ]' in (text := capsys.readouterr().out) and 'without CUDA' in text
    assert not check_mmcv_on(GPU)
    text = capsys.readouterr().out
    assert text.startswith('[FAIL]') and 'detection does not' in text
    assert 'remedy: make setup MMCV=cuda' in text


@pytest.mark.needs_mmcv_ops
@pytest.mark.parametrize('error', [None, 'CUDA error: no kernel image is available for execution on the device'])
def test_operators_with_cuda_must_run_on_the_gpu_that_is_there(check_mmcv_on, monkeypatch, capsys, error):
    def sample(points, count):
        if error:
            raise RuntimeError(f'{error}\nCompile with TORCH_USE_CUDA_DSA')

    monkeypatch.setattr('mmcv.ops.get_compiling_cuda_version', lambda: '12.1')
    monkeypatch.setattr('mmcv.ops.furthest_point_sample', sample)
    monkeypatch.setattr(torch, 'rand', lambda *shape, device: None)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda device: None)
    assert check_mmcv_on(GPU) == (error is None)
    text = capsys.readouterr().out
    assert ('run on the GPU (CUDA 12.1)' in text) == (error is None)
    assert error is None or f'do not run on this GPU (CUDA 12.1: {error})' in text


@pytest.mark.needs_sparse_conv
def test_a_wrong_backend_is_found_by_comparison_with_dense_convolution(monkeypatch, capsys):
    monkeypatch.setattr(sparse_conv, 'largest_error_against_dense', lambda *_: 0.3)
    well, text = doctor(monkeypatch, capsys)
    assert not well and 'WRONG' in text and 'spconv-cu120' in text


def test_a_missing_package_comes_with_its_remedy(monkeypatch, capsys):
    def without_timm(name):
        if name == 'timm':
            import importlib.metadata

            raise importlib.metadata.PackageNotFoundError(name)
        return real_version(name)

    monkeypatch.setattr('importlib.metadata.version', without_timm)
    well, text = doctor(monkeypatch, capsys)
    assert not well and 'timm is not installed' in text and 'pip install timm' in text
