from mmdet3d.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from cleverdistiller.engine.loops import SeededIterTrainLoop
from cleverdistiller.errors import InputError
from cleverdistiller.seeding import seed_everything


@HOOKS.register_module()
class SeedHook(Hook):
    """Seed every iteration from (run's seed, iteration, rank), so that a resumed run repeats an uninterrupted one.

    Not every epoch: a DataLoader draws from the same generator, and more often when its workers start anew.

    Raises:
        InputError: If a loop over iterations would augment a sample alike in every pass.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        dataset = runner.train_dataloader.dataset
        if hasattr(dataset, 'set_epoch'):
            if isinstance(runner.train_loop, IterBasedTrainLoop) and not isinstance(
                runner.train_loop, SeededIterTrainLoop
            ):
                raise InputError(
                    f'{type(runner.train_loop).__name__}, which does not tell the dataset that a pass begins',
                    'other augmentations in each pass',
                    "set train_cfg.type to 'SeededIterTrainLoop'",
                )
            dataset.set_epoch(runner.seed, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        seed_everything(runner.seed, runner.iter, get_rank())
