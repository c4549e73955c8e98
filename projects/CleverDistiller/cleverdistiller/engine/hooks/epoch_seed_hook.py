from mmdet3d.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from cleverdistiller.seeding import seed_everything


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed every epoch from (run's seed, epoch, rank), so that a resumed run repeats an uninterrupted one."""

    def before_train_epoch(self, runner: Runner) -> None:
        seed_everything(runner.seed, runner.epoch, get_rank())
        dataset = runner.train_dataloader.dataset
        if hasattr(dataset, 'set_epoch'):
            dataset.set_epoch(runner.seed, runner.epoch)
