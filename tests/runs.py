"""Training runs over made-up frames, as a user starts them."""

import subprocess
import sys
from pathlib import Path

from mmengine.config import Config

from conftest import REPO, small_dataset, small_model, small_pipeline

TRAIN = REPO / 'tools' / 'train.py'


def write_config(folder: Path, frames: Path, epochs: int = 3, **changes) -> Path:
    """A whole training config: two iterations an epoch, RankMe at the end."""
    dataset = small_dataset(frames)
    validation = small_dataset(
        frames, test_mode=True, num_frames=2, pipeline=[small_pipeline()[0], small_pipeline()[-1]]
    )
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    config = dict(
        model=small_model(
            data_preprocessor=dict(type='DistillationDataPreprocessor', voxel_size_m=0.2, mix3d_prob=0.5)
        ),
        train_dataloader=dict(
            batch_size=2,
            num_workers=1,
            persistent_workers=True,
            dataset=dataset,
            sampler=dict(type='DefaultSampler', shuffle=True),
        ),
        val_dataloader=dict(loader, dataset=validation),
        val_evaluator=dict(type='RankMeMetric'),
        test_dataloader=dict(loader, dataset=validation),
        test_evaluator=dict(type='RankMeMetric'),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.001)),
        param_scheduler=dict(type='OneCycle', by_epoch=False),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=epochs),
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
    )
    base = Config.fromfile(REPO / 'configs/_base_/default_runtime.py')
    base.merge_from_dict(config)
    base.merge_from_dict(dict(default_hooks=dict(logger=dict(interval=1)), log_processor=dict(window_size=1)))
    base.merge_from_dict(changes)
    path = folder / 'config.py'
    base.dump(path)
    return path


def train(config: Path, work_dir: Path, *options: str, script: Path = TRAIN, **popen) -> subprocess.Popen:
    """Start a training in the background."""
    command = [sys.executable, str(script), str(config), '--work-dir', str(work_dir), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **popen)


def finish(process: subprocess.Popen) -> str:
    """Wait for it and return what it printed."""
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output[-3000:]
    return output
