"""RankMe and matrix rank of as many features as the paper takes.

python benchmarks/rankme.py [--points 25600] [--channels 96 256] [--repeats 5]

Random features. Prints one JSON line: median seconds and peak memory of both together, by width.
"""

import argparse
import json
import statistics
import time

import torch
from _peak_memory import peak_memory

from cleverdistiller.evaluation.rank import matrix_rank, rankme


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--points', type=int, default=25600)
    parser.add_argument('--channels', type=int, nargs='+', default=[96, 256])
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    found = {}
    for channels in args.channels:
        torch.manual_seed(0)
        features, seconds = torch.randn(args.points, channels), []
        with peak_memory() as peak:
            for _ in range(args.repeats):
                start = time.perf_counter()
                rank = rankme(features), matrix_rank(features)
                seconds.append(time.perf_counter() - start)
        assert rank[1] == channels and 0.9 * channels < rank[0] < 1.01 * channels, 'random features fill their space'
        found[channels] = dict(seconds=round(statistics.median(seconds), 3), peak_mib=round(peak.mib))
    print(
        json.dumps(dict(channels=found, points=args.points, torch=torch.__version__, threads=torch.get_num_threads()))
    )


if __name__ == '__main__':
    main()
