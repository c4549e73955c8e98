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
        score_target (str): What a proposal's score should be between ``train_cfg.rcnn.cls_neg_thr`` and
            ``cls_pos_thr``, 0 below and 1 above. ``overlap``: rising with its overlap (mmdet3d). ``class``: anything,
            it is left out of the loss (OpenPCDet's PointRCNN).
        **kwargs: See mmdet3d's ``PointRCNNBboxHead``.

    Raises:
        InputError: If ``score_target`` is another word.
    """

    def __init__(self, max_size_ratio: float = 8.0, score_target: str = 'overlap', **kwargs) -> None:
        if score_target not in ('overlap', 'class'):
            raise InputError(f'score_target={score_target!r}', 'overlap or class', "correct the model's config")
        super().__init__(**kwargs)
        self.score_target = score_target
        self.max_log_ratio = math.log(max_size_ratio)

    def _get_target_single(
        self, pos_bboxes: Tensor, pos_gt_bboxes: Tensor, ious: Tensor, cfg: Mapping
    ) -> tuple[Tensor, ...]:
        label, bbox_targets, pos_gt_bboxes, reg_mask, label_weights, bbox_weights = super()._get_target_single(
            pos_bboxes, pos_gt_bboxes, ious, cfg
        )
        if self.score_target == 'class':
            between = (ious > cfg.cls_neg_thr) & (ious < cfg.cls_pos_thr)
            label_weights = torch.where(between, 0.0, label_weights)
        return label, bbox_targets, pos_gt_bboxes, reg_mask, label_weights, bbox_weights

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
        # In float32, under autocast too: see TransferPointRPNHead.predict_by_feat.
        return super().get_results(rois, cls_score.float(), bounded.float(), class_labels, input_metas, cfg)


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
