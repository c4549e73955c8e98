import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from cleverdistiller.engine.schedulers import OneCycle

STEPS = 50


def make_optimizer() -> torch.optim.AdamW:
    groups = [dict(params=nn.Linear(2, 2).parameters()), dict(params=nn.Linear(2, 2).parameters(), lr=1e-4)]
    return torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.005)


def run(optimizer, scheduler, steps: int) -> list[tuple]:
    values = []
    for _ in range(steps):
        values.append([(group['lr'], group['betas'][0]) for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return values


def test_equals_torchs_one_cycle_for_every_group():
    optimizer, twin = make_optimizer(), make_optimizer()
    schedule = OneCycle(optimizer, end=STEPS, pct_start=0.04, div_factor=10, final_div_factor=100)
    expected = OneCycleLR(twin, [1e-3, 1e-4], total_steps=STEPS, pct_start=0.04, div_factor=10, final_div_factor=100)
    assert run(optimizer, schedule, STEPS) == run(twin, expected, STEPS)


def test_the_paper_s_curve():
    optimizer = make_optimizer()
    values = run(optimizer, OneCycle(optimizer, end=STEPS, pct_start=0.04), STEPS)
    lrs, betas = zip(*(groups[0] for groups in values))
    assert lrs[0] == pytest.approx(1e-4)  # max / div
    assert max(lrs) == pytest.approx(1e-3) and lrs[-1] == pytest.approx(1e-6)  # max / 1000 at the end
    assert betas[0] == pytest.approx(0.95) and min(betas) == pytest.approx(0.85)
    assert betas[-1] == pytest.approx(0.95)
    assert max(groups[1][0] for groups in values) == pytest.approx(1e-4)  # lr_mult lives


def test_resumes_in_the_middle():
    whole = make_optimizer()
    expected = run(whole, OneCycle(whole, end=STEPS), STEPS)[30:]
    optimizer = make_optimizer()
    schedule = OneCycle(optimizer, end=STEPS)
    run(optimizer, schedule, 30)
    resumed = make_optimizer()
    restored = OneCycle(resumed, end=STEPS)
    resumed.load_state_dict(optimizer.state_dict())
    restored.load_state_dict(schedule.state_dict())
    assert run(resumed, restored, 20) == expected


def test_stays_at_the_end_and_refuses_epochs():
    optimizer = make_optimizer()
    values = run(optimizer, OneCycle(optimizer, end=STEPS), STEPS + 5)
    assert values[-1] == values[STEPS - 1]
    with pytest.raises(ValueError, match='by_epoch'):
        OneCycle(make_optimizer(), end=STEPS, by_epoch=True)
