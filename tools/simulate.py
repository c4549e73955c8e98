"""Write a simulated driving set in a benchmark's own file format.

python tools/simulate.py --out DIR [--format nuscenes|kitti|semantickitti|waymo|images] [--scenes 8] [--frames 10]
                         [--seed 0] [--image-scale 1] [--no-sweeps] [--workers W]

Streets, traffic, LiDAR and cameras are made up; the files are what the benchmark's own readers expect, and the truth
is known exactly. Numbers measured on such data prove that code works. They say nothing about real roads.

--format images writes no benchmark but camera images with a class for each pixel. --image-scale 0.5 and --no-sweeps
(nuscenes) make lighter sets: pictures of half the rows and columns, with intrinsics to match; keyframes alone.

The same seed gives the same bytes, whatever the number of workers. A run that was stopped (Ctrl-C, a kill) goes on when
the same command is given again. Another number of frames gives other streets.
"""

import argparse
import os
import time
from pathlib import Path

# Before numpy comes: workers have one thread each anyway, and a process with one alone is copied in no time.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

from _packaged import clear_errors
from cleverdistiller.simulation.run import SimulatedSet, simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='a new or empty folder')
    parser.add_argument('--format', default='nuscenes', help='nuscenes, kitti, semantickitti, waymo or images')
    parser.add_argument('--scenes', type=int, default=8)
    parser.add_argument('--frames', type=int, default=10, help='keyframes in each scene')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--image-scale', type=float, default=1.0, help='nuscenes, images: size of the images')
    parser.add_argument('--no-sweeps', action='store_true', help='nuscenes: no LiDAR sweeps between keyframes')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes; default: every processor')
    args = parser.parse_args()
    start = time.monotonic()
    with clear_errors():
        wanted = SimulatedSet(
            args.format, args.scenes, args.frames, args.seed, image_scale=args.image_scale, sweeps=not args.no_sweeps
        )
        written = simulate(wanted, args.out, args.workers)
    took = f'written in {time.monotonic() - start:.0f} s' if written else 'complete already'
    print(f'{args.out}: {args.scenes} scenes of {args.frames} frames in the format of {args.format}, {took}')
    print('simulated data: numbers measured on it say nothing about real roads')


if __name__ == '__main__':
    main()
