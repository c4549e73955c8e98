from mmdet3d.models import PointRCNNRoIHead
from mmdet3d.registry import MODELS
from mmengine.structures import InstanceData

from cleverdistiller.downstream.detectors.transfer_point_rcnn_bbox_head import require_finite


@MODELS.register_module()
class TransferPointRCNNRoIHead(PointRCNNRoIHead):
    """PointRCNN's second stage, tested with any batch and any number of proposals; see mmdet3d's ``PointRCNNRoIHead``.

    The stock head needs equally many proposals in each frame of a batch, and at least one.
    """

    def predict(self, feats_dict: dict, rpn_results_list: list, batch_data_samples: list, **kwargs) -> list:
        """Boxes of each frame, refined frame by frame.

        Args:
            feats_dict (dict): ``fp_features`` (B, C, N), ``fp_points`` (B, N, 3) and ``points_cls_preds`` (B, N, K).
            rpn_results_list (list[InstanceData]): Proposals of each frame.
            batch_data_samples (list[Det3DDataSample]): One a frame.
            **kwargs: Passed on.

        Returns:
            list[InstanceData]: ``bboxes_3d``, ``scores_3d`` and ``labels_3d`` of each frame.

        Raises:
            InputError: If the first stage's scores of a frame are NaN or infinite.
        """
        found = []
        for row, (proposals, sample) in enumerate(zip(rpn_results_list, batch_data_samples)):
            require_finite(feats_dict['points_cls_preds'][row], 'first', sample.metainfo)
            if len(proposals):
                frame = {
                    name: feats_dict[name][row : row + 1] for name in ('fp_features', 'fp_points', 'points_cls_preds')
                }
                found += super().predict(frame, [proposals], [sample], **kwargs)
            else:
                found.append(
                    InstanceData(
                        bboxes_3d=proposals.bboxes_3d, scores_3d=proposals.scores_3d, labels_3d=proposals.labels_3d
                    )
                )
        return found
