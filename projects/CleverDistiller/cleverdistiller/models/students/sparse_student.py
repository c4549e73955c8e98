from abc import ABCMeta, abstractmethod
from collections.abc import Collection
from types import ModuleType

import torch
from mmengine.model import BaseModule
from torch import Tensor

from cleverdistiller.fileio import load_strictly, read_student
from cleverdistiller.ops.sparse_conv import load_backend, use_algorithm_for
from cleverdistiller.structures import VoxelGrid


class SparseStudent(BaseModule, metaclass=ABCMeta):
    """What students of sparse convolutions share: the backend, exported weights, and the taps.

    Args:
        backend (str): ``auto``, ``spconv`` or ``spconv_triton``.

    Attributes:
        arguments (dict): What rebuilds it.
        told_apart_by (str): Those of them that a file of weights hangs on, for people.
        out_channels (int): C of ``last``.
        tap_channels (dict[str, int]): C of each tap.
    """

    arguments: dict
    told_apart_by: str
    out_channels: int
    tap_channels: dict[str, int]

    def __init__(self, backend: str, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self._backend = backend
        self._algorithm_device: str | None = None

    @property
    def _lib(self) -> ModuleType:
        """Looked up rather than kept: an EMA deep-copies its model, and a Python module cannot be copied."""
        return load_backend(self._backend).module

    def load_weights(self, path: str) -> None:
        """Load an exported student; any key or shape that differs is an error.

        Args:
            path (str): ``.pth`` or ``.safetensors``.

        Raises:
            InputError: If the file cannot be read safely or does not fit.
        """
        load_strictly(
            self,
            read_student(path),
            path,
            f'build the student with the {self.told_apart_by} the file was made with (its metadata names them)',
            owner=f'{type(self).__name__}({self.arguments})',
        )

    def forward(self, voxels: VoxelGrid) -> Tensor:
        """One feature a voxel.

        Args:
            voxels (VoxelGrid): M voxels.

        Returns:
            Tensor: (M, C).
        """
        return self.forward_taps(voxels, ('last',))['last']

    @abstractmethod
    def forward_taps(self, voxels: VoxelGrid, taps: Collection[str]) -> dict[str, Tensor]:
        """Features of several stages.

        Args:
            voxels (VoxelGrid): M voxels.
            taps (Collection[str]): ``last``, the last stage; ``stride_2``, the one before, whose voxels are twice as
                large: each voxel gets its parent's feature.

        Returns:
            dict[str, Tensor]: (M, C_tap) by tap, ``tap_channels`` wide.
        """

    def _fit_to(self, device: torch.device) -> None:
        """Choose the algorithms of the convolutions for a device, once."""
        if self._algorithm_device != device.type:
            use_algorithm_for(self, device)
            self._algorithm_device = device.type
