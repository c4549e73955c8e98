from collections.abc import Mapping

import torch
from mmdet3d.registry import MODELS
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.models.auxiliaries.auxiliary import Auxiliary
from cleverdistiller.models.data_preprocessors.scan_data_preprocessor import scan_of_points
from cleverdistiller.models.losses.functional import global_mean, l2_distance
from cleverdistiller.ops.voxelize import count_rows, gather_rows
from cleverdistiller.structures import DistillationInputs, TeacherFeatures


@MODELS.register_module()
class TemporalConsistency(Auxiliary):
    """What overlaps in this keyframe and the next should have like features (the paper's Table A6).

    For each pair of points (p, p') of two keyframes that lie on each other, with f the student's feature of a point's
    voxel,

        L = w mean |f(p) / |f(p)| - f(p') / |f(p')||_2,

    the distance of Eq. 1 without a head. Both frames get the gradient. Alone, equal features everywhere would
    satisfy it; the distillation keeps them apart.

    The next frames take a second pass through the student: batch normalisation sees them as a batch of their own,
    and its running statistics move twice a step. They are never mixed (Mix3D), this keyframe's scans may be.

    Args:
        student_channels (Mapping[str, int]): C of each tap; not used.
        teacher_channels (int): D; not used.
        weight (float): w.
        name (str): Of the loss.
    """

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: int,
        weight: float = 0.05,
        name: str = 'temporal',
    ) -> None:
        super().__init__()
        self.name, self.weight = name, weight

    def loss(
        self, student: Mapping[str, Tensor], teacher: TeacherFeatures, inputs: DistillationInputs, distiller
    ) -> dict[str, Tensor]:
        """See :meth:`Auxiliary.loss`; logs how many pairs there were and how many scans had none.

        Raises:
            InputError: If the batch was loaded without next frames.
        """
        pairs = inputs.temporal_pairs  # (P, 2)
        if pairs is None:
            raise InputError(
                f'{type(self).__name__} with a batch that has no next frames',
                'next_points and temporal_pairs',
                'load the data as configs/_base_/datasets/nuscenes_distill_temporal.py does',
            )
        feature = gather_rows(student['last'], inputs.voxels.point_to_voxel[pairs[:, 0]])  # (P, C)
        next_feature = feature  # of no pair: 0 with a live gradient, and nothing to run the student on
        if len(pairs):
            next_features = distiller.student(inputs.next_voxels)
            next_feature = gather_rows(next_features, inputs.next_voxels.point_to_voxel[pairs[:, 1]])
        with torch.autocast(feature.device.type, enabled=False):
            distance = l2_distance(feature, next_feature)
            loss = global_mean(distance.sum(), len(pairs))
        return {
            f'loss_{self.name}': self.weight * loss,
            'temporal_pairs': loss.new_full((), len(pairs)),
            'scans_without_temporal_pairs': self._scans_without(pairs, inputs.scan_sizes),
        }

    @staticmethod
    def _scans_without(pairs: Tensor, scan_sizes: tuple[int, ...]) -> Tensor:
        """() float32: a scan at the end of its scene, or one where nothing overlaps."""
        scan = scan_of_points(scan_sizes, pairs.device)[pairs[:, 0]]
        return (count_rows(scan, len(scan_sizes)) == 0).float().sum()
