"""Point operators on this machine's CPU at PointRCNN's sizes, in cache-sized blocks and all pairs at once.

python benchmarks/point_ops.py [--points 16384] [--centres 4096] [--rois 128] [--repeats 5]

Two clouds of a front-facing LiDAR. Prints one JSON line: seconds of each operator (median; one call of the
network's largest layer), those and the peak memory of the operators that compare all pairs, when they do so
in blocks and at once, and mmcv's own CPU kernel for points in boxes.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from _peak_memory import peak_memory
from mmcv.ops import points_in_boxes_cpu
from torch import Tensor

from cleverdistiller.ops import point_box_ops, point_ops

BATCH, ROI_POINTS = 2, 512


def make_clouds(batch: int, points: int) -> Tensor:
    """(B, N, 3): dense near the sensor and sparse far away, in the field of view of KITTI's camera."""
    range_m, azimuth = 70 * torch.rand(batch, points) ** 2, (torch.rand(batch, points) - 0.5) * 1.57
    return torch.stack([range_m * azimuth.cos(), range_m * azimuth.sin(), torch.randn(batch, points) / 2 - 1], 2)


def make_calls(points: int, centres: int, rois: int) -> dict[str, Callable[[], object]]:
    """Each operator as PointRCNN's largest layer calls it."""
    torch.manual_seed(0)
    xyz = make_clouds(BATCH, points)
    centre_index = torch.stack([torch.randperm(points)[:centres] for _ in range(BATCH)]).int()
    centre_xyz = point_ops.gather_points(xyz.mT, centre_index).mT.contiguous()
    near = point_ops.ball_query(0, 0.5, 32, xyz, centre_xyz)
    features = torch.randn(BATCH, 99, points, requires_grad=True)
    grouped = point_ops.grouping_operation(features, near)
    deep = torch.randn(BATCH, 256, centres)
    distance, three = point_ops.three_nn(xyz, centre_xyz)
    weight = torch.softmax(-distance, 2)
    car = torch.tensor([3.9, 1.6, 1.56]).expand(BATCH, rois, 3)
    boxes = torch.cat([make_clouds(BATCH, rois), car, 6 * torch.rand(BATCH, rois, 1)], 2)
    pooled_features = torch.randn(BATCH, points, 130)
    roi_xyz = 2 * torch.rand(BATCH * rois, ROI_POINTS, 3)
    roi_centres = roi_xyz[:, :128].contiguous()
    return {
        'furthest_point_sample': lambda: point_ops.furthest_point_sample(xyz, centres),
        'furthest_point_sample_roi': lambda: point_ops.furthest_point_sample(roi_xyz, 128),
        'gather_points': lambda: point_ops.gather_points(features, centre_index),
        'ball_query': lambda: point_ops.ball_query(0, 0.5, 32, xyz, centre_xyz),
        'ball_query_roi': lambda: point_ops.ball_query(0, 0.2, 16, roi_xyz, roi_centres),
        'grouping_operation': lambda: point_ops.grouping_operation(features, near),
        'grouping_operation_backward': lambda: torch.autograd.grad(grouped, features, grouped, retain_graph=True),
        'three_nn': lambda: point_ops.three_nn(xyz, centre_xyz),
        'three_interpolate': lambda: point_ops.three_interpolate(deep, three, weight),
        'points_in_boxes_part': lambda: point_box_ops.points_in_boxes_part(xyz, boxes),
        'points_in_boxes_all': lambda: point_box_ops.points_in_boxes_all(xyz, boxes),
        'points_in_boxes_mmcv_cpu': lambda: points_in_boxes_cpu(xyz, boxes),
        'roi_point_pool3d': lambda: point_box_ops.roi_point_pool3d(xyz, pooled_features, boxes, ROI_POINTS),
    }


COMPARES_ALL_PAIRS = ('ball_query', 'three_nn', 'points_in_boxes_all', 'roi_point_pool3d')


def measure(call: Callable[[], object], at_once: int, repeats: int) -> dict[str, float]:
    """Median seconds of one operator after one call for warming up, and its peak memory above the inputs."""
    point_ops.PAIRS_AT_ONCE = at_once
    with peak_memory() as peak:
        call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return dict(seconds=round(statistics.median(seconds), 4), peak_mib=round(peak.mib))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--points', type=int, default=16384)
    parser.add_argument('--centres', type=int, default=4096)
    parser.add_argument('--rois', type=int, default=128)
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    small = make_calls(points=512, centres=64, rois=4)
    assert torch.equal(small['points_in_boxes_all'](), small['points_in_boxes_mmcv_cpu']()), 'the two ways disagree'
    calls = make_calls(args.points, args.centres, args.rois)
    in_blocks = point_ops.PAIRS_AT_ONCE
    blocks = {name: measure(call, in_blocks, args.repeats) for name, call in calls.items()}
    whole = {name: measure(calls[name], 2**62, args.repeats) for name in COMPARES_ALL_PAIRS}
    print(
        json.dumps(
            dict(
                seconds={name: result['seconds'] for name, result in blocks.items()},
                in_blocks={name: blocks[name] for name in COMPARES_ALL_PAIRS},
                at_once=whole,
                speedup={name: round(whole[name]['seconds'] / blocks[name]['seconds'], 2) for name in whole},
                **vars(args),
                batch=BATCH,
                torch=torch.__version__,
                threads=torch.get_num_threads(),
            )
        )
    )


if __name__ == '__main__':
    main()
