import math
from collections.abc import Mapping, Sequence

import torch
from mmdet3d.models.roi_heads.bbox_heads import PointRCNNBboxHead
from mmdet3d.registry import MODELS
from torch import Tensor

from cleverdistiller.errors import InputError


@MODELS.register_module()
class TransferPointRCNNBboxHead(PointRCNNBboxHead):
    """PointRCNN's second-stage boxes, always finite; see mmdet3d's ``PointRCNNBboxHead``.

    A box is at most ``max_size_ratio`` times as large or small as its proposal in each dimension, as
    :class:`TransferPointRPNHead` bounds the proposal by its class's mean. Boxes of background are never supervised, and
    where the exponential makes one of them infinite, the whole set cannot be scored.

    Args:
        max_size_ratio (float): See above.
        **kwargs: See mmdet3d's ``PointRCNNBboxHead``.
    """

    def __init__(self, max_size_ratio: float = 8.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.max_log_ratio = math.log(max_size_ratio)

    def get_results(
        self,
        rois: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        class_labels: Sequence[Tensor],
        input_metas: Sequence[Mapping],
        cfg: Mapping | None = None,
    ) -> list:
        """Boxes of each frame.

        Args:
            rois (Tensor): (R, 8) frame's number and proposal.
            cls_score (Tensor): (R, 1) scores.
            bbox_pred (Tensor): (R, 7) encoded boxes.
            class_labels (Sequence[Tensor]): Classes of each frame's proposals.
            input_metas (Sequence[Mapping]): Of each frame.
            cfg (Mapping | None): ``score_thr``, ``nms_thr`` and ``use_rotate_nms``.

        Returns:
            list[InstanceData]: ``bboxes_3d``, ``scores_3d`` and ``labels_3d`` of each frame.

        Raises:
            InputError: If a number of a frame is NaN or infinite.
        """
        numbers = torch.cat([rois[:, 1:], cls_score, bbox_pred], 1)
        for row, meta in enumerate(input_metas):
            require_finite(numbers[rois[:, 0] == row], 'second', meta)
        centres, log_sizes, turns = bbox_pred.split([3, 3, bbox_pred.shape[1] - 6], 1)
        bounded = torch.cat([centres, log_sizes.clamp(-self.max_log_ratio, self.max_log_ratio), turns], 1)
        return super().get_results(rois, cls_score, bounded, class_labels, input_metas, cfg)


def require_finite(numbers: Tensor, stage: str, meta: Mapping) -> None:
    """Refuse what a diverged network says of a frame: score thresholds would silently drop its NaN.

    Args:
        numbers (Tensor): Of one frame.
        stage (str): Which stage's, for the message.
        meta (Mapping): Of the frame, with ``frame_id`` or ``lidar_path``.

    Raises:
        InputError: If one is NaN or infinite.
    """
    if not numbers.isfinite().all():
        raise InputError(
            f"the {stage} stage's predictions for the frame {meta.get('frame_id') or meta.get('lidar_path')}, some of "
            'them NaN or infinite',
            'finite numbers',
            'the weights have diverged, or the frame has bad points: test an earlier checkpoint, look at the frame',
        )
