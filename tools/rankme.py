"""RankMe and matrix rank of a student's features on the validation frames of a config.

python tools/rankme.py CONFIG CHECKPOINT [--out FILE.json] [--cfg-options KEY=VALUE ...]

CHECKPOINT is an exported student (.pth, .safetensors), a training checkpoint (epoch_N.pth), or `random`: the student
before training, from the config's randomness.seed. The teacher is not needed. Prints a table and writes a JSON file
beside the checkpoint.
"""

import argparse
from pathlib import Path

import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, set_random_seed
from tqdm import tqdm

from _packaged import ConfigOptions, clear_errors
from cleverdistiller.errors import InputError
from cleverdistiller.models.distillers import CleverDistiller
from cleverdistiller.provenance import is_simulated, versions, write_results

RANDOM = 'random'


def measure(cfg: Config, checkpoint: str) -> dict[str, float]:
    """Run the student over ``cfg.val_dataloader`` and evaluate ``cfg.val_evaluator``."""
    init_default_scope(cfg.default_scope)
    device = get_device()
    preprocessor = MODELS.build(cfg.model.data_preprocessor).to(device)
    set_random_seed(cfg.randomness.seed)
    weights = None if checkpoint == RANDOM else checkpoint
    student = MODELS.build(dict(cfg.model.student, weights=weights)).to(device).eval()
    loader = Runner.build_dataloader(cfg.val_dataloader, seed=0)
    evaluator = Evaluator(cfg.val_evaluator)
    with torch.no_grad():
        for batch in tqdm(loader, desc='frames', unit='batch'):
            inputs = preprocessor(batch)['inputs']
            evaluator.process(CleverDistiller.split_by_scan(student(inputs.voxels), inputs), batch)
    return evaluator.evaluate(len(loader.dataset))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--out', help='JSON file; default: CHECKPOINT with the suffix .rankme.json')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, default={})
    args = parser.parse_args()
    with clear_errors():
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(args.cfg_options)
        if args.checkpoint == RANDOM and args.out is None:
            raise InputError('no --out', 'a file for the rank of random weights', 'give --out FILE.json')
        out = Path(args.out or Path(args.checkpoint).with_suffix('.rankme.json'))
        numbers = measure(cfg, args.checkpoint)
        made_from = dict(config=args.config, checkpoint=args.checkpoint, seed=cfg.randomness.seed, versions=versions())
        if is_simulated(cfg.val_dataloader.dataset.data_root):
            made_from['simulated'] = True
        write_results(out, numbers, made_from)
    for name, value in numbers.items():
        print(f'{name:28s}{value:12.3f}')
    print(f'written to {out}')


if __name__ == '__main__':
    main()
