"""Pretrain or fine-tune: mmdet3d's own packaged ``tools/train.py``, with one clear error for bad input.

python tools/train.py CONFIG [--work-dir DIR] [--resume [CHECKPOINT]] [--amp] [--cfg-options KEY=VALUE ...]
"""

from _packaged import run_packaged_tool

if __name__ == '__main__':
    run_packaged_tool('train.py')
