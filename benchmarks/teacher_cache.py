"""What data and teacher cost an epoch of pretraining, with images and with a cache of the teacher's features.

python benchmarks/teacher_cache.py [CONFIG] [--form fp16 | int8 | pca] [--cfg-options KEY=VALUE ...]

Prints one JSON line. CONFIG is configs/pretrain/keyframe.py, over the real keyframe where it is at hand and over a
made-up one otherwise. The cache is made anew; then each sample is loaded and the teacher asked in both ways in turn, in
one process without workers. Voxels and student are not counted.
"""

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from PIL import Image

import cleverdistiller  # noqa: F401  (fills the registries)
from cleverdistiller.engine.cached_config import with_teacher_cache

REPO = Path(__file__).parent.parent
KEYFRAME = REPO / 'configs' / 'pretrain' / 'keyframe.py'
LOADERS = ('LoadCameraImages', 'LoadTeacherFeatures')


def write_made_up_keyframe(root: Path, cameras: tuple[str, ...]) -> dict:
    """A frame of nuScenes' size; returns what a config's dataset is told.

    Args:
        root (Path): Folder.
        cameras (tuple[str, ...]): Evenly around the sensor.
    """
    rng = np.random.default_rng(0)
    azimuth = rng.uniform(-np.pi, np.pi, 34688)
    distance = rng.gamma(2, 8, azimuth.shape) + 2
    points = np.stack([distance * np.cos(azimuth), distance * np.sin(azimuth), rng.normal(-1, 0.7, azimuth.shape)], 1)
    rest = rng.uniform(0, 255, (len(points), 2))
    np.concatenate([points, rest], 1).astype(np.float32).tofile(root / 'sweep.bin')
    images = {}
    for camera, yaw in zip(cameras, np.linspace(0, 2 * np.pi, len(cameras), endpoint=False)):
        coarse = Image.fromarray(rng.integers(0, 255, (90, 160, 3), dtype=np.uint8))
        coarse.resize((1600, 900)).save(root / f'{camera}.jpg', quality=90)
        forward, down = np.array([np.cos(yaw), np.sin(yaw), 0]), np.array([0, 0, -1.0])
        lidar2cam = np.eye(4)
        lidar2cam[:3, :3] = np.stack([np.cross(down, forward), down, forward])
        cam2img = [[1250, 0, 800], [0, 1250, 450], [0, 0, 1]]
        images[camera] = dict(img_path=f'{camera}.jpg', cam2img=cam2img, lidar2cam=lidar2cam.tolist())
    frame = dict(token='made-up', images=images, lidar_points=dict(lidar_path='sweep.bin', num_pts_feats=5))
    info = dict(metainfo=dict(dataset='made-up', info_version='1.1'), data_list=[frame])
    (root / 'infos.pkl').write_bytes(pickle.dumps(info))
    return dict(data_root=str(root), ann_file='infos.pkl')


class Way:
    """One way to come by the teacher's features."""

    def __init__(self, cfg: Config) -> None:
        torch.manual_seed(
            cfg.get('randomness', {}).get('seed') or 0
        )  # a random teacher is part of the cache's identity
        self.model = MODELS.build(cfg.model)
        self.dataset = DATASETS.build(cfg.train_dataloader.dataset)
        self.loader = next(step for step in self.dataset.pipeline.transforms if type(step).__name__ in LOADERS)

    def seconds(self, row: int) -> dict[str, float]:
        """Of one sample: the whole pipeline, its loader of images or features alone, and the teacher."""
        begin = time.perf_counter()
        scan = self.dataset[row]
        loaded = time.perf_counter()
        inputs = self.model.data_preprocessor(pseudo_collate([scan]), True)['inputs']
        ready = time.perf_counter()
        self.model.teacher_features(inputs)
        seen = time.perf_counter()
        self.loader(self.dataset.get_data_info(row))
        return dict(data=loaded - begin, teacher=seen - ready, loader=time.perf_counter() - seen)


def epoch(samples: list[dict[str, float]]) -> dict[str, float]:
    """Sums over samples, and that of data and teacher."""
    sums = {name: sum(sample[name] for sample in samples) for name in samples[0]}
    return {name: round(value, 4) for name, value in dict(sums, total=sums['data'] + sums['teacher']).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', type=Path, default=KEYFRAME)
    parser.add_argument('--form', default='fp16')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dataset = cfg.train_dataloader.dataset
        real = (Path(dataset.data_root) / dataset.ann_file).is_file()
        if args.config == KEYFRAME and not real:
            dataset.update(write_made_up_keyframe(root, cfg.cameras))
        cfg.dump(root / 'config.py')
        cache = root / 'cache'
        tool = [sys.executable, REPO / 'tools' / 'cache_teacher.py', root / 'config.py']
        subprocess.run([*tool, '--out', cache, '--form', args.form], check=True, stdout=sys.stderr)
        images, cached = Way(cfg), Way(with_teacher_cache(cfg, str(cache)))
        images.seconds(0)  # starts thread pools
        epochs = []
        for _ in range(2):
            rows = range(len(images.dataset))
            samples = [(images.seconds(row), cached.seconds(row)) for row in rows]
            epochs.append([epoch(way) for way in map(list, zip(*samples))])
        print(
            json.dumps(
                dict(
                    ratio=[round(ours['total'] / theirs['total'], 1) for ours, theirs in epochs],
                    ratio_of_loader_and_teacher=[
                        round((ours['loader'] + ours['teacher']) / (theirs['loader'] + theirs['teacher']), 1)
                        for ours, theirs in epochs
                    ],
                    samples=len(images.dataset),
                    from_images=[ours for ours, _ in epochs],
                    from_cache=[theirs for _, theirs in epochs],
                    cache_mib=round(sum(file.stat().st_size for file in cache.iterdir()) / 2**20, 3),
                    relative_error=json.loads((cache / 'cache.json').read_text())['relative_error'],
                    config=str(args.config),
                    form=args.form,
                    made_up=not real,
                    torch=torch.__version__,
                    threads=torch.get_num_threads(),
                )
            )
        )


if __name__ == '__main__':
    main()
