"""Looking teacher features up at paired pixels against upsampling the whole map and indexing it.

python benchmarks/pixel_sampling.py [--points 20000] [--channels 384] [--repeats 5]

Prints one JSON line: seconds (median), peak memory of the process above its start, and the ratios. Each way
runs in a process of its own, so that one's memory does not hide the other's.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import time

import torch
import torch.nn.functional as F

from cleverdistiller.ops.pixel_sampling import sample_pixel_features

IMAGES, PATCHES_HW, INPUT_HW = 6, (16, 32), (224, 448)


def lookup(patches, image, uv_px):
    return sample_pixel_features(patches, image, uv_px, INPUT_HW)


def upsample_then_index(patches, image, uv_px):
    dense = F.interpolate(patches, INPUT_HW, mode='bilinear', align_corners=True)
    cols, rows = uv_px.long().unbind(1)
    return dense[image, :, rows, cols]


WAYS = {'lookup': lookup, 'dense': upsample_then_index}


def measure(way: str, points: int, channels: int, repeats: int) -> dict[str, float]:
    """Median seconds and peak extra memory of one way, on whole pixels, the same for both ways."""
    torch.manual_seed(0)
    patches = torch.randn(IMAGES, channels, *PATCHES_HW)
    image = torch.randint(IMAGES, (points,))
    uv_px = torch.stack([torch.randint(INPUT_HW[1], (points,)), torch.randint(INPUT_HW[0], (points,))], 1).float()
    torch.ones(512, 512) @ torch.ones(512, 512)  # starts the thread pool before memory is counted
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeats):
        found = None  # the last result must not add to the peak
        start = time.perf_counter()
        found = WAYS[way](patches, image, uv_px)
        seconds.append(time.perf_counter() - start)
    peak_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    return dict(seconds=statistics.median(seconds), peak_mib=peak_mib, checksum=float(found.double().abs().sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--points', type=int, default=20000)
    parser.add_argument('--channels', type=int, default=384)
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    context = multiprocessing.get_context('spawn')
    with context.Pool(1, maxtasksperchild=1) as pool:
        results = {way: pool.apply(measure, (way, args.points, args.channels, args.repeats)) for way in WAYS}
    dense, ours = results['dense'], results['lookup']
    assert abs(dense['checksum'] / ours['checksum'] - 1) < 1e-5, 'the two ways disagree'
    print(
        json.dumps(
            dict(
                speedup=round(dense['seconds'] / ours['seconds'], 1),
                memory_ratio=round(ours['peak_mib'] / dense['peak_mib'], 3),
                **results,
                **vars(args),
                torch=torch.__version__,
                threads=torch.get_num_threads(),
            )
        )
    )


if __name__ == '__main__':
    main()
