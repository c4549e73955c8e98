import math
from collections.abc import Collection, Mapping, Sequence

import torch
from mmdet3d.registry import HOOKS
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner

NORM = 'grad_norm'


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop training at the first loss that is NaN or infinite, and name the frames that gave it.

    With several processes all of them stop, each with the same message: the losses and frames of those whose losses
    were bad. Otherwise one would stop, and the others wait for it.

    The norm of the gradients is looked at too, where gradients are clipped: with it the next loss would be bad, and the
    next frames named. A loss scaler (AMP) meets such gradients and drops their step, so there it is not.

    Raises:
        RuntimeError: With the losses, the iteration and the frames.
    """

    priority = 'VERY_HIGH'

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        values = dict(outputs or {})
        norm = runner.message_hub.log_scalars.get(f'train/{NORM}')
        if norm is not None and not hasattr(runner.optim_wrapper, 'loss_scaler'):
            values[NORM] = norm.current()
        if not values or _finite_everywhere(values.values()):
            return
        numbers = {name: float(value) for name, value in values.items()}
        bad = {name: number for name, number in numbers.items() if not math.isfinite(number)}
        of_ranks = all_gather_object((bad, _frames(data_batch)))
        # The norm is the same on all ranks: where a loss is bad, it says nothing about the other ranks' frames.
        guilty = [each for each in of_ranks if each[0].keys() - {NORM}] or of_ranks
        told = '; '.join(
            f'{", ".join(f"{name}={number}" for name, number in bad.items())} in frames {", ".join(frames)}'
            for bad, frames in guilty
        )
        raise RuntimeError(
            f'iteration {runner.iter + 1} (epoch {runner.epoch + 1}): {told}\n'
            '  remedy: look at these frames and their labels (tools/visualize.py); if they are sound, lower '
            'optim_wrapper.optimizer.lr, and resume from the last checkpoint'
        )


def _finite_everywhere(values: Collection[torch.Tensor | float]) -> bool:
    """Whether all values of all ranks are finite; waits for the GPU once."""
    device = next((value.device for value in values if isinstance(value, torch.Tensor)), None)
    scalars = [
        value.detach().float().reshape(()) if isinstance(value, torch.Tensor) else torch.full((), value, device=device)
        for value in values
    ]
    bad = (~torch.stack(scalars).isfinite()).any().int()
    all_reduce(bad, 'max')
    return not bad.item()


def _frames(data_batch: Mapping) -> Sequence[str]:
    """What the pipeline calls each frame of the batch."""
    metas = [sample.metainfo for sample in data_batch['data_samples']]
    return [str(meta.get('frame_id') or meta.get('lidar_path') or meta) for meta in metas]
