import torch

from cleverdistiller.datasets.guarded_pipeline import GuardedPipeline
from cleverdistiller.seeding import isolated_seed


class SeededSamples:
    """Put before a dataset class: each sample's randomness depends on (seed, epoch, index) alone.

    Another number of workers, or a resumed run, sees the same augmentations. :class:`SeedHook` tells the epoch, or
    :class:`SeededIterTrainLoop` where epochs are passes between iterations. A frame without points is treated as
    :class:`GuardedPipeline` says.
    """

    def __init__(self, *args, **kwargs) -> None:
        # Shared memory, so that persistent workers see the epoch change.
        self._seed_and_epoch = torch.zeros(2, dtype=torch.int64).share_memory_()
        super().__init__(*args, **kwargs)
        self.pipeline = GuardedPipeline(self.pipeline.transforms, self.test_mode)

    def set_epoch(self, seed: int, epoch: int) -> None:
        """Tell every worker which epoch the next samples belong to."""
        self._seed_and_epoch.copy_(torch.tensor([seed, epoch]))

    def prepare_data(self, idx: int) -> dict:
        seed, epoch = self._seed_and_epoch.tolist()
        with isolated_seed(seed, epoch, idx):
            return super().prepare_data(idx)
