"""The exported student: whole, or as it was before."""

import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from torch import nn

from cleverdistiller.engine.hooks import ExportStudentHook
from cleverdistiller.errors import DiskFullError
from cleverdistiller.fileio import read_metadata, read_student


def runner_in(work_dir: Path) -> SimpleNamespace:
    model = nn.Module()
    model.student, model.data_preprocessor = nn.Linear(2, 3), SimpleNamespace(voxel_size_m=0.05)
    model.student.arguments = dict(in_features=2)
    return SimpleNamespace(
        model=model, cfg=Config(), seed=0, epoch=1, iter=7, work_dir=str(work_dir), logger=logging.getLogger('none')
    )


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='no device that is always full')
def test_a_full_disk_leaves_the_student_of_before(tmp_path):
    before, after = runner_in(tmp_path), runner_in(tmp_path)
    ExportStudentHook().after_train(before)
    (tmp_path / f'.student.pth.{os.getpid()}.tmp').symlink_to('/dev/full')
    with pytest.raises(DiskFullError, match=r'student\.pth'):
        ExportStudentHook().after_train(after)
    for name in ('student.pth', 'student.safetensors'):
        assert (read_student(tmp_path / name)['weight'] == before.model.student.weight).all()
        assert read_metadata(tmp_path / name)['iterations'] == '7'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['student.pth', 'student.safetensors']
