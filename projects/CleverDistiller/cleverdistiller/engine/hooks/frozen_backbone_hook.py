from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from cleverdistiller.engine.state_dict_hash import state_dict_hash


@HOOKS.register_module()
class FrozenBackboneHook(Hook):
    """Prove that linear probing left the backbone as it was, BatchNorm statistics included.

    Compares the SHA-256 of ``model.backbone`` before and after training (a resumed run: after resuming). Does nothing
    unless ``model.frozen``. With ``model.bn_train_in_lp`` a change is expected and logged.

    Raises:
        RuntimeError: If a frozen backbone changed.
    """

    def __init__(self) -> None:
        self.before: str | None = None

    def before_train(self, runner: Runner) -> None:
        model = _unwrapped(runner)
        self.before = state_dict_hash(model.backbone) if model.frozen else None

    def after_train(self, runner: Runner) -> None:
        if self.before is None:
            return
        model = _unwrapped(runner)
        after = state_dict_hash(model.backbone)
        if after == self.before:
            runner.logger.info(f'backbone unchanged, sha256 {after}')
        elif model.bn_train_in_lp:
            runner.logger.info(f'backbone changed, as bn_train_in_lp allows: sha256 {self.before}, now {after}')
        else:
            raise RuntimeError(
                f'the frozen backbone changed in training: sha256 {self.before}, now {after}; this is no linear probing'
            )


def _unwrapped(runner: Runner):
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
