"""The guard names the loss, the iteration and the frames, and lets finite training alone."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmdet3d.registry import HOOKS
from mmdet3d.structures import Det3DDataSample
from mmengine.logging import MessageHub
from torch import nn

from cleverdistiller.engine.hooks import finite_loss_hook

HOOK = dict(type='FiniteLossHook')


def runner(name: str, grad_norm: float | None = None, **wrapper):
    hub = MessageHub(f'finite_loss_{name}')
    if grad_norm is not None:
        hub.update_scalar('train/grad_norm', grad_norm)
    return SimpleNamespace(iter=41, epoch=2, message_hub=hub, optim_wrapper=SimpleNamespace(**wrapper))


def frames(*metas: dict) -> dict:
    return dict(data_samples=[Det3DDataSample(metainfo=meta) for meta in metas])


def finish_iteration(runner, data, **outputs):
    HOOKS.build(HOOK).after_train_iter(runner, 0, data, outputs)


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_a_loss_that_is_not_finite_stops_the_run_by_frame(bad):
    data = frames(dict(frame_id='000123'), dict(lidar_path='velodyne/000007.bin'))
    with pytest.raises(RuntimeError) as stopped:
        finish_iteration(runner(f'loss{bad}'), data, loss=torch.tensor(bad), loss_cls=torch.tensor(1.0))
    message = str(stopped.value)
    assert 'start anew with a lower optim_wrapper.optimizer.lr' in message  # a resumed run would keep the old one
    assert f'iteration 42 (epoch 3): loss={bad} in frames 000123, velodyne/000007.bin\n' in message
    assert 'loss_cls' not in message


def test_finite_losses_pass():
    finish_iteration(runner('finite', grad_norm=3.0), frames(dict(frame_id='0')), loss=torch.tensor(1.0), count=2.0)


def test_gradients_that_are_not_finite_stop_the_run_unless_a_scaler_drops_their_step():
    data = frames(dict(frame_id='0'))
    with pytest.raises(RuntimeError, match='grad_norm=inf'):
        finish_iteration(runner('norm', float('inf')), data, loss=torch.tensor(1.0))
    finish_iteration(runner('scaled', float('inf'), loss_scaler=None), data, loss=torch.tensor(1.0))


class _Scaled:
    """A training whose loss scaler reacts to what the steps gave, as torch's does."""

    def __init__(self, max_dropped=3, accumulate=1):
        self.hook, self.accumulate, self.said = HOOKS.build(dict(HOOK, max_dropped=max_dropped)), accumulate, []
        self.runner = runner(
            f'scaler{id(self)}',
            loss_scaler=SimpleNamespace(_scale=torch.tensor(2.0**16)),
            should_update=lambda: (self.runner.iter + 1) % self.accumulate == 0,
        )
        self.runner.iter = 0
        self.runner.model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        self.runner.logger = SimpleNamespace(warning=self.said.append)

    def iterate(self, loss=1.0, overflow=False):
        bad = overflow or not math.isfinite(loss)
        if bad and self.runner.optim_wrapper.should_update():
            self.runner.optim_wrapper.loss_scaler._scale *= 0.5
        self.hook.after_train_iter(
            self.runner, 0, frames(dict(frame_id=str(self.runner.iter))), dict(loss=torch.tensor(loss))
        )
        self.runner.iter += 1


def test_a_scaler_may_drop_steps_but_only_so_many_in_a_row():
    training = _Scaled()
    for _ in range(2):
        training.iterate()
        for _ in range(3):
            training.iterate(overflow=True)
    assert training.said == []  # normal where a scaler looks for its scale
    training.iterate()
    with pytest.raises(RuntimeError, match=r'iteration 13 .* dropped 4 steps in a row, the last one with loss_scale='):
        for _ in range(4):
            training.iterate(overflow=True)


def test_a_bad_loss_under_a_scaler_is_logged_and_counts():
    training = _Scaled()
    for _ in range(3):
        training.iterate(math.nan)
    assert [text.split(';')[0] for text in training.said] == [
        f'iteration {i + 1} (epoch 3): loss=nan in frames {i}' for i in range(3)
    ]
    with pytest.raises(RuntimeError, match='4 steps in a row, the last one with loss=nan in frames 3'):
        training.iterate(math.nan)


def test_iterations_between_two_steps_do_not_end_a_row():
    training = _Scaled(accumulate=2)
    with pytest.raises(RuntimeError, match='4 steps in a row'):
        for _ in range(4):
            training.iterate()
            training.iterate(overflow=True)


def test_a_dropped_step_that_left_bad_statistics_stops_the_run():
    training = _Scaled()
    training.iterate()
    training.runner.model[1].running_var[0] = math.inf
    with pytest.raises(RuntimeError, match=r'1\.running_var\): the training stops after loss=inf in frames 1'):
        training.iterate(math.inf)


class _Event:
    """What a GPU reaches later."""

    waited = 0

    def synchronize(self):
        _Event.waited += 1


@pytest.fixture
def on_a_gpu(monkeypatch):
    """Values that arrive when the event has come, and are nonsense before."""
    _Event.waited = 0
    monkeypatch.setattr(finite_loss_hook, '_to_host', lambda *tensors: (list(tensors), _Event()))


def test_on_a_gpu_the_host_looks_at_an_iteration_when_the_next_is_queued(on_a_gpu):
    hook, training = HOOKS.build(HOOK), runner('late')
    hook.after_train_iter(training, 0, frames(dict(frame_id='bad')), dict(loss=torch.tensor(math.nan)))
    assert _Event.waited == 0
    training.iter += 1
    with pytest.raises(RuntimeError, match=r'iteration 42 \(epoch 3\): loss=nan in frames bad'):
        hook.after_train_iter(training, 0, frames(dict(frame_id='good')), dict(loss=torch.tensor(1.0)))
    assert _Event.waited == 1


def test_on_a_gpu_nothing_is_unseen_at_the_end_of_an_epoch(on_a_gpu):
    hook, training = HOOKS.build(HOOK), runner('end')
    hook.after_train_iter(training, 0, frames(dict(frame_id='bad')), dict(loss=torch.tensor(math.inf)))
    with pytest.raises(RuntimeError, match='loss=inf in frames bad'):
        hook.after_train_epoch(training)


def test_on_a_gpu_a_run_that_may_not_go_on_waits(on_a_gpu):
    hook = HOOKS.build(dict(HOOK, late=False))
    with pytest.raises(RuntimeError, match='loss=nan'):
        hook.after_train_iter(runner('at_once'), 0, frames(dict(frame_id='bad')), dict(loss=torch.tensor(math.nan)))


@pytest.mark.parametrize(
    ('mine', 'norm', 'others', 'told'),
    [
        ({}, None, {'loss': math.nan}, 'loss=nan in frames theirs'),
        ({}, math.nan, {'loss': math.nan, 'grad_norm': math.nan}, 'loss=nan, grad_norm=nan in frames theirs'),
        ({'loss': math.inf}, None, {}, 'loss=inf in frames mine'),
        ({}, math.inf, {'grad_norm': math.inf}, 'grad_norm=inf in frames mine; grad_norm=inf in frames theirs'),
        ({}, None, {}, None),
    ],
)
def test_every_rank_stops_and_names_the_frames_of_the_one_to_blame(monkeypatch, mine, norm, others, told):
    def all_reduce(flag, op):
        assert op == 'max'
        flag.clamp_(min=int(bool(others)))

    monkeypatch.setattr(finite_loss_hook, 'all_reduce', all_reduce)
    monkeypatch.setattr(finite_loss_hook, 'all_gather_object', lambda own: [own, (others, ['theirs'])])
    losses = {name: torch.tensor(value) for name, value in {'loss': 1.0, **mine}.items()}
    iteration = (runner(f'ranks{mine}{norm}{others}', norm), frames(dict(frame_id='mine')))
    if told is None:
        finish_iteration(*iteration, **losses)
        return
    with pytest.raises(RuntimeError) as stopped:
        finish_iteration(*iteration, **losses)
    assert f'(epoch 3): {told}\n' in str(stopped.value)
