"""Evaluate a checkpoint: mmdet3d's own packaged ``tools/test.py``, with one clear error for bad input.

python tools/test.py CONFIG CHECKPOINT [--tta] [--work-dir DIR] [--launcher pytorch] [--cfg-options KEY=VALUE ...]
"""

from _packaged import run_packaged_tool

if __name__ == '__main__':
    run_packaged_tool('test.py')
