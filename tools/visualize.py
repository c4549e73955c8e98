"""Pictures without a display.

python tools/visualize.py pairs CONFIG [--index 0] [--out pairs.png] [--cfg-options KEY=VALUE ...]
    The LiDAR points of one training frame on the images they are paired with, coloured by depth, drawn on
    images of --size rows and columns (the teacher itself sees 224 x 448).
"""

import argparse

import numpy as np
import torch
from mmdet3d.registry import DATASETS
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from _packaged import clear_errors
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.ops.projection import project_points
from cleverdistiller.visualization import draw_pairs


def pairs(args: argparse.Namespace) -> None:
    """Run the config's own loading and pairing steps on one frame and draw the result."""
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    dataset_cfg = cfg.train_dataloader.dataset
    names = [step['type'] for step in dataset_cfg.pipeline]
    if 'PairPointsWithPixels' not in names:
        raise InputError(
            f'{args.config} whose pipeline has no PairPointsWithPixels',
            'a pretraining config',
            'use one of configs/pretrain',
        )
    dataset_cfg.pipeline = dataset_cfg.pipeline[: names.index('PairPointsWithPixels') + 1]
    for step in dataset_cfg.pipeline:
        if step['type'] == 'LoadCameraImages':
            step['size_hw'] = tuple(args.size)
    dataset = DATASETS.build(dataset_cfg)
    if not 0 <= args.index < len(dataset):
        raise InputError(f'--index {args.index}', f'0 to {len(dataset) - 1}', 'choose a frame of the dataset')
    frame = dataset[args.index]
    found = frame['pairs']
    _, depth_m = project_points(
        frame['points'].tensor[:, :3], torch.from_numpy(frame['lidar2cam']), torch.from_numpy(frame['cam2img'])
    )
    picture = draw_pairs(
        frame['img'],
        frame['camera_names'],
        np.asarray(found.image_index),
        np.asarray(found.uv_px),
        depth_m[found.image_index, found.point_index].numpy(),
    )
    with replace_when_complete(args.out) as temporary:
        picture.save(temporary, format='PNG')
    print(f'{len(found)} pairs of {len(frame["points"])} points in {len(frame["img"])} images: {args.out}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    command = commands.add_parser('pairs', help='LiDAR points on the images')
    command.add_argument('config')
    command.add_argument('--index', type=int, default=0, help='frame of the training set')
    command.add_argument('--size', type=int, nargs=2, default=(450, 800), metavar=('ROWS', 'COLS'))
    command.add_argument('--out', default='pairs.png')
    command.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    command.set_defaults(run=pairs)
    args = parser.parse_args()
    with clear_errors():
        args.run(args)


if __name__ == '__main__':
    main()
