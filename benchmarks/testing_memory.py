"""Peak memory of testing with SafeSegMetric and with mmdet3d's SegMetric, over few and over many frames.

python benchmarks/testing_memory.py [--frames 50 400] [--points 30000]

Prints one JSON line: peak memory of the process for each metric and number of frames, and many over few. Runs
mmengine's own test loop on made-up scans with a model that guesses; each run has a process of its own, whose imports
are the floor of every peak.
"""

import argparse
import contextlib
import json
import multiprocessing
import resource
import sys
import tempfile

import numpy as np
import torch
from mmdet3d.structures import Det3DDataSample, PointData
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

import cleverdistiller  # noqa: F401  (fills the registries)

METRICS = ('SafeSegMetric', 'SegMetric')
CLASSES = tuple(f'class_{k}' for k in range(16))


class Scans(Dataset):
    """Made anew whenever asked for, so that only the loop can keep them."""

    metainfo = dict(classes=CLASSES, label2cat=dict(enumerate(CLASSES)), ignore_index=len(CLASSES))

    def __init__(self, frames: int, points: int) -> None:
        self.frames, self.points = frames, points

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, index: int) -> dict:
        rng = np.random.default_rng(index)
        sample = Det3DDataSample(metainfo=dict(frame_id=str(index)))
        sample.eval_ann_info = dict(pts_semantic_mask=rng.integers(0, len(CLASSES) + 1, self.points))
        return dict(inputs=torch.from_numpy(rng.normal(size=(self.points, 4))), data_samples=sample)


class Guess(BaseModel):
    """A class by height."""

    def forward(self, inputs: list, data_samples: list, mode: str = 'predict') -> list:
        for points, sample in zip(inputs, data_samples):
            heights = (points[:, 2] * 4).long() % len(CLASSES)
            sample.pred_pts_seg = PointData(pts_semantic_mask=heights)
        return data_samples


def measure(metric: str, frames: int, points: int) -> dict[str, float]:
    """Peak memory of one test, and its mean IoU."""
    with tempfile.TemporaryDirectory() as work_dir, contextlib.redirect_stdout(sys.stderr):
        runner = Runner(
            Guess(),
            work_dir,
            test_dataloader=DataLoader(Scans(frames, points), collate_fn=_columns),
            test_cfg={},
            test_evaluator=dict(type=metric, prefix='seg'),
            default_scope='mmdet3d',
            log_level='ERROR',
        )
        miou = runner.test()['seg/miou']
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return dict(peak_mib=round(peak_mib, 1), miou=miou)


def _columns(scans: list[dict]) -> dict[str, list]:
    return {key: [scan[key] for scan in scans] for key in scans[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, nargs=2, default=(50, 400), metavar=('FEW', 'MANY'))
    parser.add_argument('--points', type=int, default=30000)
    args = parser.parse_args()
    context = multiprocessing.get_context('spawn')
    with context.Pool(1, maxtasksperchild=1) as pool:
        runs = {
            (metric, frames): pool.apply(measure, (metric, frames, args.points))
            for metric in METRICS
            for frames in args.frames
        }
    few, many = args.frames
    for frames in args.frames:
        ours, theirs = (runs[metric, frames]['miou'] for metric in METRICS)
        assert abs(ours - theirs) < 1e-9, 'the two metrics disagree'
    peaks = {metric: {frames: runs[metric, frames]['peak_mib'] for frames in args.frames} for metric in METRICS}
    print(
        json.dumps(
            dict(
                ratio={metric: round(peaks[metric][many] / peaks[metric][few], 3) for metric in METRICS},
                growth_mib={metric: round(peaks[metric][many] - peaks[metric][few], 1) for metric in METRICS},
                peak_mib=peaks,
                points=args.points,
                torch=torch.__version__,
            )
        )
    )


if __name__ == '__main__':
    main()
