"""Training runs over made-up frames, as a user starts them."""

import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

from mmengine.config import Config
from mmengine.visualization import Visualizer

from conftest import REPO, small_dataset, small_model, small_pipeline

TRAIN = REPO / 'tools' / 'train.py'


def write_config(folder: Path, frames: Path, epochs: int = 3, **changes) -> Path:
    """A whole training config: two iterations an epoch, RankMe at the end."""
    dataset = small_dataset(frames)
    validation = small_dataset(
        frames, test_mode=True, num_frames=2, pipeline=[small_pipeline()[0], small_pipeline()[-1]]
    )
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    mixing = dict(type='DistillationDataPreprocessor', voxel_size_m=0.2, mix3d_prob=0.5)
    config = dict(
        model=small_model(data_preprocessor=mixing),
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


def run_script(script: Path, *arguments) -> None:
    """Run a tool in this process: importing spconv and mmdet3d anew costs 15 s."""
    paths = [str(script.parent), str(REPO / 'tools'), *sys.path]
    with mock.patch.object(sys, 'argv', [str(script), *map(str, arguments)]), mock.patch.object(sys, 'path', paths):
        runpy.run_path(str(script), run_name='__main__')


def train(config: Path, work_dir: Path, *options: str, script: Path = TRAIN) -> None:
    """Train in this process."""
    Visualizer._instance_dict.clear()  # a name's first instance would go on writing to the first work dir
    run_script(script, config, '--work-dir', work_dir, *options)


def start_training(config: Path, work_dir: Path) -> subprocess.Popen:
    """Train in a process that can be killed."""
    command = [sys.executable, str(TRAIN), str(config), '--work-dir', str(work_dir)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
