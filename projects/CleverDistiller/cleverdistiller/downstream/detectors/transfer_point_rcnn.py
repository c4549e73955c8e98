import torch
from mmdet3d.models import PointRCNN
from mmdet3d.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from cleverdistiller.compat import make_point_ops_run_on_cpu
from cleverdistiller.downstream.detectors.student_point_backbone import StudentPointBackbone
from cleverdistiller.errors import InputError
from cleverdistiller.models.frame_names import too_few_voxels_named


@MODELS.register_module()
class TransferPointRCNN(PointRCNN):
    """PointRCNN (arXiv 1812.04244) on a student's features of points, on a GPU or a CPU.

    Args:
        num_points (int | None): The backbone sees whole clouds, the heads the first ``num_points`` of each:
            :class:`SampledPointsFirst` orders them so. A wide sensor's cloud is not thinned before it is voxelised.
            None: both see the points that the pipeline sampled.
        **kwargs: See mmdet3d's ``PointRCNN``.

    Raises:
        InputError: If ``num_points`` is set for another backbone than :class:`StudentPointBackbone`.
    """

    def __init__(self, num_points: int | None = None, **kwargs) -> None:
        make_point_ops_run_on_cpu()
        super().__init__(**kwargs)
        self.num_points = num_points
        if num_points is not None and not isinstance(self.backbone, StudentPointBackbone):
            raise InputError(
                f'model.num_points={num_points} with a {type(self.backbone).__name__}',
                'a StudentPointBackbone, the only one that takes clouds of unequal size',
                'leave model.num_points out and sample the points in the pipeline (DetectionPointSample)',
            )

    def loss(self, batch_inputs_dict: dict, batch_data_samples: list, **kwargs) -> dict[str, Tensor]:
        """See mmdet3d's ``PointRCNN``; a batch that is a single voxel is refused with its frames' names."""
        with too_few_voxels_named(batch_data_samples):
            return super().loss(batch_inputs_dict, batch_data_samples, **kwargs)

    def predict(self, batch_inputs_dict: dict, batch_data_samples: list, **kwargs) -> list:
        """See mmdet3d's ``PointRCNN``; a cloud without points has no detections.

        Args:
            batch_inputs_dict (dict): ``points``, a list of (N, 3 + c) float32.
            batch_data_samples (list[Det3DDataSample]): One a cloud.

        Returns:
            list[Det3DDataSample]: The same, with ``pred_instances_3d``.
        """
        clouds = batch_inputs_dict['points']
        seen = [row for row, cloud in enumerate(clouds) if len(cloud)]
        if seen:
            inputs = dict(batch_inputs_dict, points=[clouds[row] for row in seen])
            super().predict(inputs, [batch_data_samples[row] for row in seen], **kwargs)
        for sample, cloud in zip(batch_data_samples, clouds):
            if not len(cloud):
                nothing = cloud.new_zeros(0)
                found = InstanceData(
                    bboxes_3d=sample.box_type_3d(cloud.new_zeros(0, 7)), scores_3d=nothing, labels_3d=nothing.long()
                )
                self.add_pred_to_datasample([sample], [found])
        return batch_data_samples

    def extract_feat(self, batch_inputs_dict: dict) -> dict[str, Tensor]:
        """Features of the points that the heads see.

        Args:
            batch_inputs_dict (dict): ``points``, a list of (N, 3 + c) float32, of equal size unless ``num_points``.

        Returns:
            dict[str, Tensor]: ``fp_features`` (B, C, N), ``fp_points`` (B, N, 3), and the latter as ``raw_points``.

        Raises:
            InputError: If a cloud has fewer points than the heads see, or clouds are of unequal size.
        """
        clouds = batch_inputs_dict['points']
        sizes = [len(cloud) for cloud in clouds]
        if self.num_points is None and len(set(sizes)) > 1:
            raise InputError(f'clouds of {sizes} points', 'clouds of one size', 'sample them with DetectionPointSample')
        if self.num_points is not None and min(sizes) < self.num_points:
            raise InputError(
                f'clouds of {sizes} points',
                f'at least {self.num_points} points each',
                f'end the pipeline with SampledPointsFirst(num_points={self.num_points})',
            )
        whole = self.num_points is not None
        x = self.backbone(clouds, self.num_points) if whole else self.backbone(torch.stack(clouds))
        if self.with_neck:
            x = self.neck(x)
        return dict(fp_features=x['fp_features'], fp_points=x['fp_xyz'], raw_points=x['fp_xyz'])
