"""The points that explain ALSO's queries: cells and draws against all distances.

python benchmarks/occupancy_support.py [--points 34688] [--queries 2048] [--radius 1.0] [--support 32] [--repeats 5]

A made-up scan, dense near the sensor. Prints one JSON line: median seconds and peak memory of each way, on one thread
as in a worker, and the ratios. Both must find as many points for each query, none farther away than the radius.
"""

import argparse
import json
import statistics
import time

import torch
from _made_up_frames import spinning_scan
from _peak_memory import peak_memory
from torch import Tensor

from cleverdistiller.ops.occupancy_queries import radius_pairs, sample_queries


def all_distances(queries_m: Tensor, points_m: Tensor, radius_m: float, support: int) -> tuple[Tensor, Tensor]:
    """What radius_pairs does, without cells: the nearest in a random order of those in reach."""
    near = torch.cdist(queries_m, points_m, compute_mode='donot_use_mm_for_euclid_dist') <= radius_m  # (Q, N)
    order = torch.where(near, torch.rand(near.shape), 2.0).topk(min(support, len(points_m)), largest=False)
    query, column = (order.values < 2).nonzero(as_tuple=True)
    return query, order.indices[query, column]


WAYS = dict(radius_pairs=radius_pairs, all_distances=all_distances)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--points', type=int, default=34688)
    parser.add_argument('--queries', type=int, default=2048)
    parser.add_argument('--radius', type=float, default=1.0)
    parser.add_argument('--support', type=int, default=32)
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    scan = torch.from_numpy(spinning_scan(0, args.points))
    points_m = scan[:, :3].contiguous()
    queries_m = sample_queries(points_m, scan[:, 3], args.queries)[0]
    found, counts = {}, {}
    for name, way in WAYS.items():
        seconds = []
        for _ in range(args.repeats):
            start = time.perf_counter()
            query, point = way(queries_m, points_m, args.radius, args.support)
            seconds.append(time.perf_counter() - start)
        with peak_memory() as peak:
            way(queries_m, points_m, args.radius, args.support)
        assert ((queries_m[query] - points_m[point]).norm(dim=1) <= args.radius * 1.0001).all()
        counts[name] = torch.bincount(query, minlength=args.queries)
        found[name] = dict(seconds=round(statistics.median(seconds), 4), peak_mib=round(peak.mib, 1))
    ours, theirs = (counts[name] for name in WAYS)
    assert (ours != theirs).float().mean() < 0.01, 'the two ways disagree'  # a point may lie on the radius
    fast, slow = (found[name] for name in WAYS)
    print(
        json.dumps(
            dict(
                speedup=round(slow['seconds'] / fast['seconds'], 1),
                memory_ratio=round(fast['peak_mib'] / slow['peak_mib'], 3),
                **found,
                pairs=int(ours.sum()),
                **vars(args),
                torch=torch.__version__,
                threads=torch.get_num_threads(),
            )
        )
    )


if __name__ == '__main__':
    main()
