from collections.abc import Mapping

import torch
from mmdet3d.registry import MODELS
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.models.auxiliaries.auxiliary import Auxiliary
from cleverdistiller.models.losses.functional import cosine_distance, global_mean
from cleverdistiller.structures import DistillationInputs, TeacherFeatures


@MODELS.register_module()
class ClassTokenMatching(Auxiliary):
    """The teacher's class token against a pooled student feature (HilDA's global term).

    Teacher: the last block's class token after the final LayerNorm, element-wise maximum over a scan's cameras.
    Student: a head on each point, then the maximum over the scan's points; with Mix3D, over those of each scan alone.

        L = w mean_d (student_d - teacher_d)^2,   or   L = w (1 - cos)

    Args:
        student_channels (Mapping[str, int]): C of each tap; filled in.
        teacher_channels (int): D; filled in.
        projection_head (dict): (n, C) to (n, D); both widths are filled in.
        weight (float): w.
        distance (str): ``mse`` or ``cosine``.
        points (str): ``all``, or ``paired``: those that a camera sees.
        name (str): Of the loss.

    Raises:
        InputError: If ``distance`` or ``points`` is another word.
    """

    needs_class_token = True

    def __init__(
        self,
        student_channels: Mapping[str, int],
        teacher_channels: int,
        projection_head: dict,
        weight: float = 0.1,
        distance: str = 'mse',
        points: str = 'all',
        name: str = 'class_token',
    ) -> None:
        super().__init__()
        for option, value, known in (
            ('distance', distance, ('mse', 'cosine')),
            ('points', points, ('all', 'paired')),
        ):
            if value not in known:
                raise InputError(f'{option}={value!r} of ClassTokenMatching', ' or '.join(known), 'correct the config')
        self.name, self.weight, self.distance, self.points = name, weight, distance, points
        self.projection_head = MODELS.build(
            dict(projection_head, in_channels=student_channels['last'], out_channels=teacher_channels)
        )

    def loss(
        self, student: Mapping[str, Tensor], teacher: TeacherFeatures, inputs: DistillationInputs, distiller
    ) -> dict[str, Tensor]:
        """See :meth:`Auxiliary.loss`."""
        projected = self.projection_head(student['last']).float()  # (M, D)
        tokens = [part.amax(0) for part in teacher.class_token.float().split(inputs.images_per_scan)]  # (D,) a scan
        pooled, wanted = [], []
        for scan, voxels in enumerate(self._voxels_by_scan(inputs)):
            if len(voxels):
                pooled.append(projected[voxels].amax(0))
                wanted.append(tokens[scan])
        # No scan has a point that counts: nothing to learn, but a gradient of 0 for every parameter.
        pooled = torch.stack(pooled) if pooled else projected[:0]  # (b, D)
        wanted = torch.stack(wanted) if wanted else pooled.detach()  # (b, D)
        with torch.autocast(projected.device.type, enabled=False):
            if self.distance == 'cosine':
                distance = cosine_distance(pooled, wanted)
            else:
                distance = ((pooled - wanted) ** 2).mean(1)
            return {f'loss_{self.name}': self.weight * global_mean(distance.sum(), len(distance))}

    def _voxels_by_scan(self, inputs: DistillationInputs) -> list[Tensor]:
        """Voxels (each once) that hold a point that counts, of each scan."""
        counts = torch.ones(len(inputs.points), dtype=torch.bool, device=inputs.points.device)
        if self.points == 'paired':
            counts = torch.zeros_like(counts).index_fill_(0, inputs.pairs.point_index, True)
        return [
            rows[chosen].unique()
            for rows, chosen in zip(
                inputs.voxels.point_to_voxel.split(inputs.scan_sizes), counts.split(inputs.scan_sizes)
            )
        ]
