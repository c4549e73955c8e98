from mmdet3d.registry import PARAM_SCHEDULERS
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR


@PARAM_SCHEDULERS.register_module()
class OneCycle(_ParamScheduler):
    """torch's one-cycle policy, per iteration: learning rate up and down, Adam's beta1 down and up.

    The peak of each parameter group is the learning rate the optimiser gave it, so ``lr_mult`` and
    ``auto_scale_lr`` keep their meaning. (mmengine's OneCycleLR overwrites every group with one
    ``eta_max`` and leaves beta1 alone.)

    Args:
        optimizer (Optimizer | OptimWrapper): Filled in by the runner.
        end (int): Iterations in all; filled in by the runner.
        pct_start (float): Share of the iterations before the peak.
        div_factor (float): Peak over first learning rate.
        final_div_factor (float): First over last learning rate.
        by_epoch (bool): Must be False; it is there because the runner looks for it.
    """

    def __init__(
        self,
        optimizer: Optimizer | OptimWrapper,
        end: int,
        pct_start: float = 0.04,
        div_factor: float = 10.0,
        final_div_factor: float = 100.0,
        by_epoch: bool = False,
    ) -> None:
        # Not super().__init__: all the arithmetic is torch's.
        if by_epoch:
            raise ValueError('OneCycle: got by_epoch=True, expected False: it steps at every iteration')
        self.by_epoch = False
        optimizer = getattr(optimizer, 'optimizer', optimizer)
        self._torch = OneCycleLR(
            optimizer,
            max_lr=[group['lr'] for group in optimizer.param_groups],
            total_steps=end,
            pct_start=pct_start,
            anneal_strategy='cos',
            div_factor=div_factor,
            final_div_factor=final_div_factor,
        )

    def step(self) -> None:
        """After each iteration. Stays at the end once the cycle is over."""
        if self._torch.last_epoch < self._torch.total_steps - 1:
            self._torch.step()

    def get_last_value(self) -> list[float]:
        """Learning rate of each group."""
        return self._torch.get_last_lr()

    def state_dict(self) -> dict:
        """Plain numbers only, so that checkpoints load with ``weights_only=True``."""
        return {key: self._torch.state_dict()[key] for key in ('last_epoch', '_step_count', '_last_lr')}

    def load_state_dict(self, state_dict: dict) -> None:
        self._torch.load_state_dict(state_dict)
