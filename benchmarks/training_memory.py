"""Memory of training on a CPU over scans of many sizes, with three settings.

python benchmarks/training_memory.py [--steps 120] [--points 6000 12000]

A small student (MinkUNet-14, 0.1 m voxels, MLP head) with its teacher's features given; two made-up scans a step, with
as many points as chance says between the two numbers. Each setting has a process: `tuned` is tools/train.py's, `own`
what glibc and oneDNN do by themselves, `frugal` gives freed blocks back from 256 KiB on. Prints one JSON line: memory
of the process in MiB after each quarter of the steps, the last over the first, and milliseconds of a step.
"""

import argparse
import json
import multiprocessing
import os
import statistics
from unittest import mock

import numpy as np
import torch
from _made_up_frames import spinning_scan
from _peak_memory import resident_mib
from _training_step import build_model, build_optimiser, make_batch, small_config, step_seconds

CAMERAS, SCANS = 2, 2
SETTINGS = dict(
    tuned={},
    own=dict(MALLOC_PERTURB_='0', ONEDNN_PRIMITIVE_CACHE_CAPACITY='1024'),  # as they are, but said, so that they stay
    frugal=dict(MALLOC_MMAP_THRESHOLD_='262144', MALLOC_TRIM_THRESHOLD_='262144'),
)


def measure(steps: int, points: tuple[int, int]) -> tuple[list[int], float]:
    """MiB after each quarter of the steps, and the median step in milliseconds."""
    torch.set_num_threads(1)
    cfg = small_config('s')
    model = build_model(cfg, 'cpu', cached=True)
    optimiser = build_optimiser(cfg, model, 'fp32')
    rng, resident, seconds = np.random.default_rng(0), [], []
    for step in range(1, steps + 1):
        scans = [spinning_scan(SCANS * step + k, int(rng.integers(*points))) for k in range(SCANS)]
        batch = make_batch(cfg, scans, CAMERAS, True, model.teacher.embed_dim)
        seconds.append(step_seconds(model, optimiser, batch, 'cpu'))
        if step * 4 % steps < 4:  # a quarter more is done
            resident.append(round(resident_mib()))
    return resident, round(1000 * statistics.median(seconds), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=120)
    parser.add_argument('--points', type=int, nargs=2, default=(6000, 12000), metavar=('FEWEST', 'MOST'))
    args = parser.parse_args()
    if torch.cuda.is_available():
        parser.error('the settings are those of a machine without a GPU; say CUDA_VISIBLE_DEVICES= before the command')
    context, resident, step_ms = multiprocessing.get_context('spawn'), {}, {}
    for name, environment in SETTINGS.items():
        with mock.patch.dict(os.environ, environment), context.Pool(1) as pool:
            resident[name], step_ms[name] = pool.apply(measure, (args.steps, tuple(args.points)))
    print(
        json.dumps(
            dict(
                growth={name: round(mib[-1] / mib[0], 2) for name, mib in resident.items()},
                resident_mib=resident,
                step_ms=step_ms,
                steps=args.steps,
                points=list(args.points),
                torch=torch.__version__,
            )
        )
    )


if __name__ == '__main__':
    main()
