"""Camera images, loaded as training loads them, for a teacher to look at once."""

import os.path as osp
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cleverdistiller.datasets.transforms import LoadCameraImages
from cleverdistiller.teacher_cache import ImageFile
from cleverdistiller.teacher_cache.shard import checksum_of, state_of


class ImageBatches(Dataset):
    """Lists of images, each loaded as one batch.

    Args:
        batches (Sequence[Sequence[str]]): Names of images, relative to ``data_root``.
        data_root (str): Folder.
        size_hw (tuple[int, int]): Rows and columns of the teacher's input.

    Raises:
        InputError: If an image is missing or cannot be decoded.
    """

    def __init__(self, batches: Sequence[Sequence[str]], data_root: str, size_hw: tuple[int, int]) -> None:
        self.batches = batches
        self.data_root = data_root
        self.loader = LoadCameraImages(size_hw)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[Tensor, list[ImageFile]]:
        """(n, 3, H, W) uint8, and what the files are."""
        names = self.batches[index]
        paths = [osp.join(self.data_root, name) for name in names]
        times = [state_of(path)[1] for path in paths]  # before the content, so that no change in between is missed
        checksums = [checksum_of(path) for path in paths]
        nowhere = dict(cam2img=np.eye(3), lidar2cam=np.eye(4))  # the transform wants to know
        loaded = self.loader(dict(images={path: dict(nowhere, img_path=path) for path in paths}))
        files = [
            ImageFile(name, *checksum, tuple(size_hw), mtime_ns)
            for name, checksum, size_hw, mtime_ns in zip(names, checksums, loaded['native_size_hw'].tolist(), times)
        ]
        return torch.from_numpy(loaded['img']).permute(0, 3, 1, 2).contiguous(), files
