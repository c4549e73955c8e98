from collections.abc import Iterator
from itertools import count

from mmdet3d.registry import LOOPS
from mmengine.dataset import InfiniteSampler
from mmengine.runner import IterBasedTrainLoop

from cleverdistiller.errors import InputError


@LOOPS.register_module()
class SeededIterTrainLoop(IterBasedTrainLoop):
    """Train for a number of iterations; each pass over the data is an epoch for :class:`SeededSamples`.

    mmengine's own loop tells no dataset that a pass begins: a frame would be augmented alike in all of them. It also
    sleeps for two seconds before each, which are many with few labels.

    Args:
        runner (Runner): Its seed and a pass's number make the samples.
        dataloader (DataLoader | dict): Of a dataset with :class:`SeededSamples`; the sampler must end.
        *args, **kwargs: For :class:`mmengine.runner.IterBasedTrainLoop` (``max_iters``, ``val_interval``, ...).

    Raises:
        InputError: If the sampler never ends a pass.
    """

    def __init__(self, runner, dataloader, *args, **kwargs) -> None:
        super().__init__(runner, dataloader, *args, **kwargs)
        if isinstance(self._sampler, InfiniteSampler):
            raise InputError(
                f'{type(self._sampler).__name__}, for which all passes are one',
                'a sampler of single passes, which this loop repeats',
                "set train_dataloader.sampler.type to 'DefaultSampler'",
            )
        # In place of mmengine's, which has asked workers for samples already; a new pass drops them.
        self.dataloader_iterator = self._passes()

    @property
    def _sampler(self):
        return self.dataloader.batch_sampler.sampler

    def _passes(self) -> Iterator:
        """Batches of pass after pass. When one begins, workers have nothing of the last left to load."""
        for number in count():
            self.dataloader.dataset.set_epoch(self.runner.seed, number)
            self._sampler.set_epoch(number)
            yield from self.dataloader
