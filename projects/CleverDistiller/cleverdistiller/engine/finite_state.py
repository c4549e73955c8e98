from collections.abc import Mapping
from itertools import chain

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.runner import Runner
from torch import Tensor

from cleverdistiller.engine.unwrapped import unwrapped

STATISTICS = ('running_mean', 'running_var')  # a forward pass writes them, even one whose step a loss scaler drops


def check_finite_state(runner: Runner, consequence: str) -> None:
    """Refuse to go on with weights or BatchNorm statistics that are NaN or infinite; waits for the GPU once.

    With several processes all of them stop, wherever the bad values are.

    Args:
        runner (Runner): Whose model.
        consequence (str): What does not happen for this, for the message.

    Raises:
        RuntimeError: With the names of the first such tensors.
    """
    model = unwrapped(runner)
    statistics = ((name, value) for name, value in model.named_buffers() if name.endswith(STATISTICS))
    bad = not_finite(dict(chain(model.named_parameters(), statistics)))
    flag = torch.tensor(len(bad), device=next(model.parameters()).device)
    all_reduce(flag, 'max')
    if not flag.item():
        return
    names = sorted({name for of_rank in all_gather_object(bad) for name in of_rank})
    raise RuntimeError(
        f'after {runner.iter} iterations {len(names)} tensors of the model are NaN or infinite ({", ".join(names[:5])}'
        f'{", ..." if len(names) > 5 else ""}): {consequence}\n'
        '  remedy: resume from the last checkpoint, whose values are finite, in full precision if it was trained in '
        'half (docs/faq.md, "A loss is NaN"); if it happens again, look at the frames that the log names, or start '
        'anew with a lower optim_wrapper.optimizer.lr'
    )


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the floating-point tensors with a NaN or infinite value.

    Args:
        tensors (Mapping[str, Tensor]): Of any shapes, all on one device.

    Returns:
        list[str]: In the order of ``tensors``.
    """
    floating = {name: value.detach() for name, value in tensors.items() if value.is_floating_point()}
    if not floating:
        return []
    finite = torch.stack([value.isfinite().all() for value in floating.values()]).tolist()
    return [name for name, fine in zip(floating, finite) if not fine]
