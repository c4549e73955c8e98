"""An mmcv without its compiled operators: all is imported, and what needs an operator says so."""

import subprocess
import sys

import pytest

from cleverdistiller.compat import let_mmcv_import_without_operators, missing_operators
from cleverdistiller.compat.mmcv import _MissingOperators
from cleverdistiller.errors import InputError

# None in sys.modules makes Python refuse the import, as the missing file does.
WITHOUT_OPERATORS = """
import sys
sys.modules['mmcv._ext'] = None
import cleverdistiller
from cleverdistiller.compat import missing_operators
from mmdet3d.registry import MODELS
from mmengine.utils.dl_utils.misc import mmcv_full_available
from mmcv.ops import box_iou_rotated
import torch
assert missing_operators() and not mmcv_full_available()
for attempt in (
    lambda: MODELS.build(dict(type='mmdet3d.TransferPointRCNN', backbone=dict(type='mmdet3d.PointNet2SASSG'))),
    lambda: box_iou_rotated(torch.ones(1, 5), torch.ones(1, 5)),
):
    try:
        attempt()
    except ValueError as error:
        print(' '.join(str(error).split()))
"""


def test_all_is_imported_and_what_needs_an_operator_says_so():
    done = subprocess.run([sys.executable, '-c', WITHOUT_OPERATORS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    detector, operator = done.stdout.splitlines()
    assert detector.startswith("got: a detector, which needs mmcv's compiled operators")
    assert operator.startswith("got: the operator box_iou_rotated, which needs mmcv's compiled operators")
    assert all('remedy: build it with tools/build_mmcv.py' in line for line in (detector, operator))


def test_the_reason_is_kept_when_operators_of_another_torch_do_not_load(monkeypatch):
    def refuse(name):
        raise ImportError('_ext.so: undefined symbol: _ZN2at4_ops\nmore of it')

    monkeypatch.setitem(sys.modules, 'mmcv._ext', None)
    monkeypatch.setattr('cleverdistiller.compat.mmcv.importlib.import_module', refuse)
    let_mmcv_import_without_operators()
    assert missing_operators() == '_ext.so: undefined symbol: _ZN2at4_ops'
    with pytest.raises(InputError, match=r'the operator nms(?s:.*)undefined symbol'):
        sys.modules['mmcv._ext'].nms(1)
    assert not hasattr(_MissingOperators(''), '__path__')  # it is no package


@pytest.mark.needs_mmcv_ops
def test_operators_that_load_are_left_alone():
    before = sys.modules['mmcv._ext']
    let_mmcv_import_without_operators()
    assert sys.modules['mmcv._ext'] is before and missing_operators() is None
