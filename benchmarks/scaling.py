"""How the cost of a training step grows with the points of a scan and with the batch.

python benchmarks/scaling.py [--points 10000 20000 40000 80000 160000] [--batch-sizes 1 2 4] [--steps 5]

A small student (MinkUNet-14, 0.1 m voxels) with its teacher's features given; scans are squares of made-up ground whose
area grows with their points, so that voxels, pairs and neighbours do as well. All sizes take turns, so that a machine
which slows down slows them all. Prints one JSON line: milliseconds of the fastest step and peak memory by batch and
points, and the growth at each doubling of either, of which `largest_growth` is the largest.
"""

import argparse
import itertools
import json
import os
from itertools import pairwise

import torch
from _made_up_frames import even_ground
from _peak_memory import peak_memory
from _training_step import build_model, build_optimiser, make_batch, small_config, step_seconds

CAMERAS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--points', type=int, nargs='+', default=[10000, 20000, 40000, 80000, 160000])
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[1, 2, 4])
    parser.add_argument('--steps', type=int, default=5)
    args = parser.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    cfg = small_config('s')
    cfg.model.data_preprocessor.mix3d_prob = 0.0  # or a batch would be of another size at every draw
    model = build_model(cfg, device, cached=True)
    optimiser = build_optimiser(cfg, model, 'fp32')
    batches, voxels, peaks = {}, {}, {}
    for points, batch_size in itertools.product(args.points, args.batch_sizes):
        scans = [even_ground(seed, points) for seed in range(batch_size)]
        run, batch = name(batch_size, points), make_batch(cfg, scans, CAMERAS, True, model.teacher.embed_dim)
        voxels[run] = len(model.data_preprocessor(batch, True)['inputs'].voxels)
        with peak_memory(device) as peak:
            step_seconds(model, optimiser, batch, device)
        batches[run], peaks[run] = batch, peak.mib
    rounds = [
        {run: step_seconds(model, optimiser, batch, device) for run, batch in batches.items()}
        for _ in range(args.steps)
    ]
    seconds = {run: min(each[run] for each in rounds) for run in batches}  # what else the machine does only adds
    growth = {
        f'{name(b, p)} to {name(b, q)}': seconds[name(b, q)] / seconds[name(b, p)]
        for b in args.batch_sizes
        for p, q in pairwise(args.points)
    } | {
        f'{name(b, p)} to {name(c, p)}': seconds[name(c, p)] / seconds[name(b, p)]
        for p in args.points
        for b, c in pairwise(args.batch_sizes)
    }
    print(
        json.dumps(
            dict(
                largest_growth=round(max(growth.values()), 2),
                growth={run: round(each, 2) for run, each in growth.items()},
                step_ms={run: round(1000 * each, 1) for run, each in seconds.items()},
                peak_mib={run: round(each) for run, each in peaks.items()},
                voxels=voxels,
                steps=args.steps,
                device=torch.cuda.get_device_name() if device == 'cuda' else 'cpu',
                torch=torch.__version__,
                threads=torch.get_num_threads(),
                malloc={key: value for key, value in os.environ.items() if key.startswith('MALLOC_')},
            )
        )
    )


def name(batch_size: int, points: int) -> str:
    """Of a run."""
    return f'{batch_size}x{points}'


if __name__ == '__main__':
    main()
