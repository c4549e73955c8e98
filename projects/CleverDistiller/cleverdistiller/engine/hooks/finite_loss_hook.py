import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from mmdet3d.registry import HOOKS
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from cleverdistiller.engine.finite_state import check_finite_state

NORM, SCALE = 'grad_norm', 'loss_scale'


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop training at the first loss that is NaN or infinite, and name the frames that gave it.

    With several processes all of them stop, each with the same message: the losses and frames of those whose losses
    were bad. Otherwise one would stop, and the others wait for it.

    The norm of the gradients is looked at too, where gradients are clipped: with it the next loss would be bad, and the
    next frames named.

    A loss scaler (AMP) drops the steps of bad gradients and halves its scale, so that there ``max_dropped`` steps in a
    row may be bad. A loss among them is logged, and stops the run if it left BatchNorm statistics that are not finite:
    those no scaler restores.

    Args:
        max_dropped (int): Of a loss scaler. mmengine's starts at 2^16: after 20 halvings gradients would have to exceed
            a million to overflow. A scaler of a fixed scale tells of bad losses only, not of bad gradients.
        late (bool): On a GPU, look at an iteration's losses when the next one has been queued, so that the host never
            waits for the GPU, and at the end of each epoch. False where the model would fail on weights that are NaN,
            with an error that says less.

    Raises:
        RuntimeError: With the losses, the iteration and the frames.
    """

    priority = 'VERY_HIGH'

    def __init__(self, max_dropped: int = 20, late: bool = True) -> None:
        self.max_dropped, self.late = max_dropped, late
        self._pending: list[_Reading] = []
        self._dropped = 0
        self._scale = -math.inf

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        values = dict(outputs or {})
        if hasattr(runner.optim_wrapper, 'loss_scaler'):
            # Not get_scale(): the host would wait for the GPU.
            scale = getattr(runner.optim_wrapper.loss_scaler, '_scale', None)
            values |= {SCALE: scale} if isinstance(scale, Tensor) else {}
        elif (norm := runner.message_hub.log_scalars.get(f'train/{NORM}')) is not None:
            values[NORM] = norm.current()
        if values:
            self._pending.append(_read(values, _frames(data_batch or {}), runner))
        late = self.late and bool(self._pending) and self._pending[-1].event is not None
        self._look(runner, leave=int(late))

    def after_train_epoch(self, runner: Runner) -> None:
        """Leave nothing unseen before a checkpoint is written."""
        self._look(runner)

    def _look(self, runner: Runner, leave: int = 0) -> None:
        while len(self._pending) > leave:
            reading = self._pending.pop(0)
            if reading.event is not None:
                reading.event.synchronize()
            if hasattr(runner.optim_wrapper, 'loss_scaler'):
                self._count_dropped(runner, reading)
            elif reading.bad.item():
                raise RuntimeError(
                    f'{reading.place}: {_blame(reading)}\n  remedy: look at these frames and their labels '
                    '(tools/visualize.py); if they are sound, start anew with a lower optim_wrapper.optimizer.lr '
                    '(a resumed training keeps that of its checkpoint)'
                )

    def _count_dropped(self, runner: Runner, reading: '_Reading') -> None:
        bad = bool(reading.bad.item())
        scale = reading.numbers().get(SCALE, self._scale)
        if bad or scale < self._scale:
            self._dropped += 1
        elif reading.stepped:
            self._dropped = 0
        self._scale = scale
        told = _blame(reading) if bad else f'{SCALE}={scale}'
        if self._dropped > self.max_dropped:
            raise RuntimeError(
                f'{reading.place}: the loss scaler has dropped {self._dropped} steps in a row, the last one with {told}'
                '\n  remedy: look at these frames (tools/visualize.py); if they are sound, train in full precision '
                '(docs/faq.md, "A loss is NaN"), or start anew with a lower optim_wrapper.optimizer.lr'
            )
        if bad:
            runner.logger.warning(f'{reading.place}: {told}; the loss scaler drops this step')
            check_finite_state(runner, f'the training stops after {told}')


@dataclass(frozen=True)
class _Reading:
    """What one iteration gave, on its way to the host.

    Args:
        names (tuple[str, ...]): Of the values.
        values (Tensor): (values,) float32, on the host once the event has come.
        bad (Tensor): () int, whether any value of any rank is not finite.
        event (torch.cuda.Event | None): None where the values are there.
        frames (Sequence[str]): Of the batch.
        place (str): Iteration and epoch, for people.
        stepped (bool): Whether the optimiser was asked for a step, with gradients of one or more iterations.
    """

    names: tuple[str, ...]
    values: Tensor
    bad: Tensor
    event: torch.cuda.Event | None
    frames: Sequence[str]
    place: str
    stepped: bool

    def numbers(self) -> dict[str, float]:
        return dict(zip(self.names, self.values.tolist()))


def _read(values: Mapping[str, Tensor | float], frames: Sequence[str], runner: Runner) -> _Reading:
    device = next((value.device for value in values.values() if isinstance(value, Tensor)), torch.device('cpu'))
    scalars = [
        value.detach().float().reshape(()) if isinstance(value, Tensor) else torch.full((), value, device=device)
        for value in values.values()
    ]
    numbers = torch.stack(scalars)
    bad = (~numbers.isfinite()).any().int()
    all_reduce(bad, 'max')
    (numbers, bad), event = _to_host(numbers, bad)
    place = f'iteration {runner.iter + 1} (epoch {runner.epoch + 1})'
    stepped = getattr(runner.optim_wrapper, 'should_update', lambda: True)()
    return _Reading(tuple(values), numbers, bad, event, frames, place, stepped)


def _to_host(*tensors: Tensor) -> tuple[list[Tensor], torch.cuda.Event | None]:
    """Copy without waiting; the copies may be read once the event has come."""
    if not tensors[0].is_cuda:
        return list(tensors), None
    copies = [torch.empty(value.shape, dtype=value.dtype, pin_memory=True) for value in tensors]
    for copy, value in zip(copies, tensors):
        copy.copy_(value, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return copies, event


def _blame(reading: _Reading) -> str:
    """Which values were bad in which frames, of all ranks: each rank has to ask."""
    bad = {name: number for name, number in reading.numbers().items() if not math.isfinite(number)}
    of_ranks = all_gather_object((bad, reading.frames))
    # The norm is the same on all ranks: where a loss is bad, it says nothing about the other ranks' frames.
    guilty = [each for each in of_ranks if each[0].keys() - {NORM}] or of_ranks
    return '; '.join(
        f'{", ".join(f"{name}={number}" for name, number in bad.items())} in frames {", ".join(frames)}'
        for bad, frames in guilty
    )


def _frames(data_batch: Mapping) -> Sequence[str]:
    """What the pipeline calls each frame of the batch."""
    metas = [sample.metainfo for sample in data_batch.get('data_samples', ())]
    return [str(meta.get('frame_id') or meta.get('lidar_path') or meta) for meta in metas]
