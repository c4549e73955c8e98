from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from cleverdistiller.engine.unwrapped import unwrapped
from cleverdistiller.ops.state_dict_hash import state_dict_hash


@HOOKS.register_module()
class FrozenBackboneHook(Hook):
    """Prove that linear probing left the backbone as it was, BatchNorm statistics included.

    Compares the SHA-256 before and after training, of ``model.backbone`` if ``model.frozen`` and of
    ``model.backbone.student`` if ``model.backbone.frozen``; checkpoints carry the first along, so that a resumed run
    compares with the start of the interrupted one. Does nothing where nothing is frozen. With ``model.bn_train_in_lp``
    a change is expected and logged.

    Raises:
        RuntimeError: If a frozen backbone changed.
    """

    def __init__(self) -> None:
        self.before: str | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume:
            self.before = checkpoint.get('meta', {}).get('frozen_backbone_sha256')

    def before_train(self, runner: Runner) -> None:
        frozen = _frozen_part(unwrapped(runner))
        if frozen is not None and self.before is None:
            self.before = state_dict_hash(frozen)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta']['frozen_backbone_sha256'] = self.before

    def after_train(self, runner: Runner) -> None:
        if self.before is None:
            return
        model = unwrapped(runner)
        after = state_dict_hash(_frozen_part(model))
        if after == self.before:
            runner.logger.info(f'backbone unchanged, sha256 {after}')
        elif getattr(model, 'bn_train_in_lp', False):
            runner.logger.info(f'backbone changed, as bn_train_in_lp allows: sha256 {self.before}, now {after}')
        else:
            raise RuntimeError(
                f'the frozen backbone changed in training: sha256 {self.before}, now {after}; this is no linear probing'
            )


def _frozen_part(model: nn.Module) -> nn.Module | None:
    if getattr(model, 'frozen', False):  # a segmentor
        return model.backbone
    return model.backbone.student if getattr(model.backbone, 'frozen', False) else None  # a detector
