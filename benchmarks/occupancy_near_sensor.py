"""How much of the occupancy loss lies near the sensor, for each choice of the points that queries are made from.

python benchmarks/occupancy_near_sensor.py [--near 2.5] [--draws 20]

On the real keyframe, where configs/pretrain/keyframe.py finds it, otherwise on a made-up scan. Prints one JSON line.
The loss is a mean over pairs of a query and a point that explains it, so that a share of the pairs is a share of the
loss. `decimated` is what the configs do, `also` what ALSO does (16,384 points of those are all that it sees), `raw`
takes the whole sweep. Of each: mean of the shares of pairs, of queries and of points within `--near` metres, how many
pairs and points there are, and median milliseconds of the transform, one thread.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from _made_up_frames import spinning_scan
from mmdet3d.structures import LiDARPoints
from mmengine.config import Config

from cleverdistiller.datasets import DistillationDataset
from cleverdistiller.datasets.transforms import LoadLiDARSweep, SampleOccupancyQueries

KEYFRAME = Path(__file__).resolve().parent.parent / 'configs' / 'pretrain' / 'keyframe.py'
CHOICES = dict(raw=dict(decimate_m=None), decimated=dict(), also=dict(max_points=16384))


def load_scan() -> tuple[str, LiDARPoints]:
    """The keyframe's sweep, or a made-up one of its size."""
    dataset = Config.fromfile(KEYFRAME).train_dataloader.dataset
    if not Path(dataset.data_root).is_dir():
        return 'made up', LiDARPoints(torch.from_numpy(spinning_scan(0, 34688)), points_dim=4)
    keys = ('data_root', 'ann_file', 'data_prefix', 'metainfo')
    frames = DistillationDataset(pipeline=[], **{key: dataset[key] for key in keys if key in dataset})
    return 'keyframe', LoadLiDARSweep()(frames.get_data_info(0))['points']


def measure(points: LiDARPoints, near_m: float, draws: int, options: dict) -> dict[str, float]:
    """One choice."""
    sample = SampleOccupancyQueries(**options)
    found = []
    for seed in range(draws):
        torch.manual_seed(seed)
        start = time.perf_counter()
        queries = sample(dict(points=points))['queries']
        milliseconds = 1000 * (time.perf_counter() - start)
        near = queries.position_lidar_m.norm(dim=1) < near_m
        points_used = queries.support_point.unique()
        found.append(
            dict(
                share_of_loss=float(near[queries.support_query].float().mean()),
                share_of_queries=float(near.float().mean()),
                share_of_points=float((points.tensor[points_used, :3].norm(dim=1) < near_m).float().mean()),
                pairs=len(queries.support_query),
                explained_queries=len(queries.support_query.unique()),
                explaining_points=len(points_used),
                milliseconds=milliseconds,
            )
        )
    means = {key: round(statistics.mean(row[key] for row in found), 3) for key in found[0]}
    return dict(means, milliseconds=round(statistics.median(row['milliseconds'] for row in found), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--near', type=float, default=2.5)
    parser.add_argument('--draws', type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)  # as in a worker
    origin, points = load_scan()
    choices = {name: measure(points, args.near, args.draws, options) for name, options in CHOICES.items()}
    print(json.dumps(dict(choices, scan=origin, sweep_points=len(points), **vars(args), torch=torch.__version__)))


if __name__ == '__main__':
    main()
