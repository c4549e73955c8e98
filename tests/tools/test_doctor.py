import runpy
import sys
from importlib.metadata import version as real_version

import pytest

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
