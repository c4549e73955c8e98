"""Which frames a batch is of, for errors that a model meets."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cleverdistiller.errors import InputError

_KEYS = ('frame_id', 'token', 'lidar_path')  # what datasets remember, the first that is there
_TOO_FEW = 'Expected more than 1 value per channel'  # of torch's BatchNorm


def frame_names(data_samples: Sequence | None) -> list[str]:
    """Name the frames of a batch.

    Args:
        data_samples (Sequence[Det3DDataSample] | None): One a frame.

    Returns:
        list[str]: Id, token or path of each; its place in the batch where nothing is known.
    """
    known = [getattr(sample, 'metainfo', {}) for sample in data_samples or ()]
    return [
        next((str(meta[key]) for key in _KEYS if key in meta), f'number {place}') for place, meta in enumerate(known)
    ]


@contextmanager
def too_few_voxels_named(data_samples: Sequence | None) -> Iterator[None]:
    """Name the frames where a BatchNorm meets a single row: a batch that is one voxel at some level.

    Args:
        data_samples (Sequence[Det3DDataSample] | None): One a frame.

    Raises:
        InputError: In the place of torch's error, which names no frame.
    """
    try:
        yield
    except ValueError as error:
        if _TOO_FEW not in str(error):
            raise
        raise InputError(
            f'a training batch of the frames {", ".join(frame_names(data_samples))}, whose points are a single voxel '
            f'at a level of the network ({error})',
            'at least two voxels at each level: points that lie apart',
            'leave these frames out, or train on larger batches',
        ) from error
