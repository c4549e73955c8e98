from abc import ABCMeta, abstractmethod

from mmdet3d.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.models.frame_names import too_few_voxels_named
from cleverdistiller.models.teachers import TeacherHolder
from cleverdistiller.ops.pixel_sampling import sample_pixel_features
from cleverdistiller.ops.voxelize import devoxelize, gather_rows
from cleverdistiller.structures import DistillationInputs, TeacherFeatures


class Distiller(TeacherHolder, BaseModel, metaclass=ABCMeta):
    """A student that learns from a frozen image teacher; a method is a subclass with its :meth:`loss`.

    Args:
        teacher (dict): A :class:`FrozenTeacher`. Never in the state dict, optimiser or EMA.
        student (dict): Maps a VoxelGrid to (M, C); tells C as ``out_channels``.
        align_corners (bool): How pixels meet patches, see ``sample_pixel_features``.
        data_preprocessor (dict | None): :class:`DistillationDataPreprocessor`.

    Attributes:
        teacher_blocks (tuple[int, ...]): Which further blocks of the teacher the method reads; -1 is the last.
        needs_class_token (bool): Whether it reads the class token.
        needs_images (bool): Whether it reads the images otherwise than through the teacher.
    """

    teacher_blocks: tuple[int, ...] = ()
    needs_class_token = False
    needs_images = False

    def __init__(
        self,
        teacher: dict,
        student: dict,
        align_corners: bool = True,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.student = MODELS.build(student)
        self.hold(MODELS.build(teacher))
        self.align_corners = align_corners

    def forward(self, inputs: DistillationInputs, data_samples: list, mode: str = 'tensor'):
        """mmengine's entry: ``loss`` trains, ``predict`` and ``tensor`` give student features."""
        if mode == 'loss':
            with too_few_voxels_named(data_samples):
                return self.loss(inputs, data_samples)
        features = self.student(inputs.voxels)
        return self.split_by_scan(features, inputs) if mode == 'predict' else features

    @abstractmethod
    def loss(self, inputs: DistillationInputs, data_samples: list) -> dict[str, Tensor]:
        """What is optimised, under keys with ``loss``, and what is logged.

        Args:
            inputs (DistillationInputs): One batch.
            data_samples (list): Not used: there are no labels.

        Returns:
            dict[str, Tensor]: () each.
        """

    def teacher_features(self, inputs: DistillationInputs) -> TeacherFeatures:
        """What the method asks of the teacher: its cached features where the batch has them, a look otherwise.

        Args:
            inputs (DistillationInputs): The batch.

        Returns:
            TeacherFeatures: Of the V images, without gradient.

        Raises:
            InputError: If the images or the features are not what this teacher takes.
        """
        asked = self.teacher_blocks, self.needs_class_token
        if inputs.teacher_features is not None:
            return self.teacher.recall(inputs.teacher_features, *asked)
        size_hw = tuple(inputs.images.shape[-2:])
        if size_hw != tuple(self.teacher.image_size_hw):
            raise InputError(
                f'images of {size_hw} for a teacher of {self.teacher.image_size_hw}',
                'one size',
                'give LoadCameraImages.size_hw and model.teacher.image_size_hw the same rows and columns',
            )
        return self.teacher.look(inputs.images, *asked)

    def at_points(self, features: Tensor, inputs: DistillationInputs) -> Tensor:
        """(M, C) voxel features to (P, C), one a paired point."""
        return gather_rows(features, inputs.voxels.point_to_voxel[inputs.pairs.point_index])

    def at_pixels(self, patches: Tensor, inputs: DistillationInputs) -> Tensor:
        """(V, D, h, w) patch features to (P, D), one a paired pixel."""
        pairs, size_hw = inputs.pairs, self.teacher.image_size_hw
        return sample_pixel_features(patches, pairs.image_index, pairs.uv_px, size_hw, self.align_corners)

    @staticmethod
    def split_by_scan(features: Tensor, inputs: DistillationInputs) -> list[dict[str, Tensor]]:
        """(M, C) voxel features to one dict a scan with ``point_features`` (N_scan, C)."""
        return [dict(point_features=part) for part in devoxelize(features, inputs)]
