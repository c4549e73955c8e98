from mmdet3d.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from cleverdistiller.seeding import seed_everything


@HOOKS.register_module()
class SeedHook(Hook):
    """Seed every iteration from (run's seed, iteration, rank), so that a resumed run repeats an uninterrupted one.

    Not every epoch: a DataLoader draws from the same generator, and more often when its workers start anew.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        dataset = runner.train_dataloader.dataset
        if hasattr(dataset, 'set_epoch'):
            dataset.set_epoch(runner.seed, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        seed_everything(runner.seed, runner.iter, get_rank())
