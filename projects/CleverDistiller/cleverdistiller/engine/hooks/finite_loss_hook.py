import math
from collections.abc import Sequence

from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop training at the first loss that is NaN or infinite, and name the frames that gave it.

    The norm of the gradients is looked at too, where gradients are clipped: with it the next loss would be bad, and the
    next frames named. A loss scaler (AMP) meets such gradients and drops their step, so there it is not.

    Raises:
        RuntimeError: With the losses, the iteration and the frames.
    """

    priority = 'VERY_HIGH'

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        values = {name: float(value) for name, value in (outputs or {}).items()}
        norm = runner.message_hub.log_scalars.get('train/grad_norm')
        if norm is not None and not hasattr(runner.optim_wrapper, 'loss_scaler'):
            values['grad_norm'] = norm.current()
        bad = {name: value for name, value in values.items() if not math.isfinite(value)}
        if bad:
            raise RuntimeError(
                f'{", ".join(f"{name}={value}" for name, value in bad.items())} in iteration {runner.iter + 1} '
                f'(epoch {runner.epoch + 1}), frames {", ".join(_frames(data_batch))}\n'
                '  remedy: look at these frames and their labels (tools/visualize.py); if they are sound, lower '
                'optim_wrapper.optimizer.lr, and resume from the last checkpoint'
            )


def _frames(data_batch: dict) -> Sequence[str]:
    """What the pipeline calls each frame of the batch."""
    metas = [sample.metainfo for sample in data_batch['data_samples']]
    return [str(meta.get('frame_id') or meta.get('lidar_path') or meta) for meta in metas]
