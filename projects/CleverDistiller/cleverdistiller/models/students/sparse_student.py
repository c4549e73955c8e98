from abc import ABCMeta, abstractmethod
from collections.abc import Collection
from types import ModuleType

import torch
from mmengine.model import BaseModule
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import load_strictly, read_student, read_student_arguments
from cleverdistiller.ops.sparse_conv import load_backend, use_algorithm_for
from cleverdistiller.structures import VoxelGrid


class SparseStudent(BaseModule, metaclass=ABCMeta):
    """What students of sparse convolutions share: the backend, exported weights, and the taps.

    Args:
        backend (str): ``auto``, ``spconv`` or ``spconv_triton``.

    Attributes:
        arguments (dict): What rebuilds it.
        told_apart_by (str): Those of them that a file of weights hangs on, for people.
        arguments_of_version (dict[int, dict]): Those of them that no shape of a tensor tells, by the version of the
            state dict, which torch keeps beside the tensors. Version 1 is what students were before they had them.
        out_channels (int): C of ``last``.
        tap_channels (dict[str, int]): C of each tap.
    """

    arguments: dict
    told_apart_by: str
    arguments_of_version: dict[int, dict] = {}
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
        """Load an exported student; any key or shape that differs is an error, and what no shape tells.

        Args:
            path (str): ``.pth`` or ``.safetensors``.

        Raises:
            InputError: If the file cannot be read safely or does not fit.
        """
        self._refuse_other(read_student_arguments(path, self.arguments_of_version), path, 'student.')
        load_strictly(
            self,
            read_student(path),
            path,
            f'build the student with the {self.told_apart_by} the file was made with (its metadata names them)',
            owner=f'{type(self).__name__}({self.arguments})',
        )

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args) -> None:
        made_with = self.arguments_of_version.get(local_metadata.get('version'), {})
        self._refuse_other(made_with, 'weights', f'--cfg-options model.{prefix}')
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def _refuse_other(self, made_with: dict, source: str, option: str) -> None:
        for key in {key for arguments in self.arguments_of_version.values() for key in arguments} & made_with.keys():
            if made_with[key] != self.arguments[key]:
                raise InputError(
                    f'{source} of a student with {key}={made_with[key]}, for one with {key}={self.arguments[key]}',
                    'the same student: no shape of a tensor tells them apart',
                    f'say {option}{key}={made_with[key]}',
                )

    def forward(self, voxels: VoxelGrid) -> Tensor:
        """One feature a voxel.

        Args:
            voxels (VoxelGrid): M voxels.

        Returns:
            Tensor: (M, C); without rows if there are no voxels.

        Raises:
            InputError: If there are no voxels to train on.
        """
        if not len(voxels):
            if self.training:
                raise InputError(
                    'a training batch without points', 'at least one', 'leave such scans out (data_preprocessor)'
                )
            return voxels.features.new_zeros(0, self.out_channels)
        return self.forward_taps(voxels, ('last',))['last']

    def forward_taps(self, voxels: VoxelGrid, taps: Collection[str]) -> dict[str, Tensor]:
        """Features of several stages; in eval mode in float32, whoever calls under autocast.

        Args:
            voxels (VoxelGrid): M voxels.
            taps (Collection[str]): ``last``, the last stage; ``stride_2``, the one before, whose voxels are twice as
                large: each voxel gets its parent's feature.

        Returns:
            dict[str, Tensor]: (M, C_tap) by tap, ``tap_channels`` wide.
        """
        device = voxels.features.device
        self._fit_to(device)
        if self.training:
            return self._forward_taps(voxels, taps)
        # Of spconv's convolutions in eval mode, only the native ones cast to half precision under autocast: the next
        # one would meet half features with its float32 weight, for which spconv has no kernel on a GPU.
        with torch.autocast(device.type, enabled=False):
            return self._forward_taps(voxels, taps)

    @abstractmethod
    def _forward_taps(self, voxels: VoxelGrid, taps: Collection[str]) -> dict[str, Tensor]:
        """See :meth:`forward_taps`, which chooses device and precision."""

    def _fit_to(self, device: torch.device) -> None:
        """Choose the algorithms of the convolutions for a device, once."""
        if self._algorithm_device != device.type:
            use_algorithm_for(self, device)
            self._algorithm_device = device.type
