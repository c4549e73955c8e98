"""KITTI's average precision over a whole validation set: 24 numbers of each class, without a GPU.

python benchmarks/kitti_ap.py [--frames 3769] [--objects 10] [--detections 50] [--repeats 3]

Made-up objects and detections, half of which lie near an object. Prints one JSON line: median seconds of taking the
detections from the LiDAR's frame to the camera's and of scoring them, and the peak memory of the process above its
start.
"""

import argparse
import json
import resource
import statistics
import time

import numpy as np
import torch

from cleverdistiller.evaluation.detection_predictions import FrameDetections
from cleverdistiller.evaluation.kitti_ap import CLASSES, KittiTruth, kitti_ap
from cleverdistiller.evaluation.kitti_frame import KittiFrame

SIZES_M = np.array([[3.9, 1.6, 1.56], [0.8, 0.6, 1.73], [1.76, 0.6, 1.73]])  # of CLASSES
SHARES = (0.8, 0.15, 0.05)
IMAGE_SIZE_WH = (1242, 375)
LIDAR2CAM = np.array([[0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1]], np.float32)
CAM2IMG = np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003], [0, 0, 0, 1]], np.float32)


def make_detections(rng: np.random.Generator, count: int, near: FrameDetections | None = None) -> FrameDetections:
    """Boxes in view of the camera, the first half of them near boxes of ``near``."""
    kind = rng.choice(len(CLASSES), count, p=SHARES)
    ahead = rng.uniform(5, 60, count)
    bottom = np.stack([ahead, ahead * rng.uniform(-0.7, 0.7, count), rng.normal(-1.7, 0.1, count)], 1)
    boxes = np.hstack([bottom, SIZES_M[kind], rng.uniform(-np.pi, np.pi, (count, 1))])
    names = np.array(CLASSES)[kind]
    if near is not None:
        row = rng.integers(len(near.names), size=count // 2)
        boxes[: count // 2] = near.boxes_lidar[row] + rng.normal(0, 0.1, (count // 2, 7))
        names[: count // 2] = near.names[row]
    return FrameDetections('', boxes.astype(np.float32), rng.random(count).astype(np.float32), names)


def make_frame(rng: np.random.Generator, objects: int, detections: int) -> tuple[KittiFrame, FrameDetections]:
    """A frame with labels, and what was found in it."""
    there = make_detections(rng, objects)
    unlabelled = KittiFrame(None, LIDAR2CAM, CAM2IMG, IMAGE_SIZE_WH)
    seen = unlabelled.in_camera(there)
    count = len(seen.name)
    truth = KittiTruth(
        seen.name,
        seen.box_px,
        seen.box_cam,
        seen.alpha,
        occluded=rng.integers(4, size=count),
        truncated=rng.choice([0, 0, 0.2, 0.4], count),
    )
    return KittiFrame(truth, LIDAR2CAM, CAM2IMG, IMAGE_SIZE_WH), make_detections(rng, detections, there)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=3769)
    parser.add_argument('--objects', type=int, default=10)
    parser.add_argument('--detections', type=int, default=50)
    parser.add_argument('--repeats', type=int, default=3)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    frames = [make_frame(rng, args.objects, args.detections) for _ in range(args.frames)]
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    converting, scoring = [], []
    for _ in range(args.repeats):
        start = time.perf_counter()
        found = [frame.in_camera(detections) for frame, detections in frames]
        middle = time.perf_counter()
        numbers = kitti_ap([frame.truth for frame, _ in frames], found)
        converting.append(middle - start)
        scoring.append(time.perf_counter() - middle)
    peak_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    seconds = dict(converting=statistics.median(converting), scoring=statistics.median(scoring))
    print(
        json.dumps(
            dict(
                seconds={name: round(value, 2) for name, value in seconds.items()},
                peak_mib=round(peak_mib),
                mean_3d_ap_r40_moderate=round(numbers['mean/3d/AP_R40/moderate'], 4),
                **vars(args),
                torch=torch.__version__,
                threads=torch.get_num_threads(),
            )
        )
    )


if __name__ == '__main__':
    main()
