import math

import torch
from mmdet3d.models import PointRPNHead
from mmdet3d.models.layers import nms_bev, nms_normal_bev
from mmdet3d.registry import MODELS
from mmdet3d.structures import BaseInstance3DBoxes, xywhr2xyxyr
from torch import Tensor


@MODELS.register_module()
class TransferPointRPNHead(PointRPNHead):
    """PointRCNN's first stage, with finite losses whatever the frame holds; see mmdet3d's ``PointRPNHead``.

    - The classification loss is divided by the number of points in boxes, or by one where there are none.
    - A frame without a box has background only.
    - Proposals are not searched for points: each grew from one.
    - A score threshold works, and prediction leaves ``raw_points`` where they were.
    - A proposal is at most ``max_size_ratio`` times as large or small as its class's mean in each dimension. Boxes of
      background points are never supervised, and the exponential makes some of them 10^9 m long: one such proposal
      spoils the second stage's BatchNorm statistics for hundreds of iterations.
    - Proposals are constants. The stock ones keep their graph: the second stage writes into them in place, which makes
      cycles that nothing frees, so memory grows with every iteration.

    Args:
        max_size_ratio (float): See above.
        **kwargs: See mmdet3d's ``PointRPNHead``.
    """

    def __init__(self, max_size_ratio: float = 8.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.max_log_ratio = math.log(max_size_ratio)

    def loss_by_feat(
        self,
        bbox_preds: Tensor,
        cls_preds: Tensor,
        points: Tensor,
        batch_gt_instances_3d: list,
        batch_input_metas: list | None = None,
        batch_gt_instances_ignore: list | None = None,
    ) -> dict[str, Tensor]:
        """Focal loss over points in or clear of boxes, smooth L1 over those in boxes.

        Args:
            bbox_preds (Tensor): (B, N, 8) encoded boxes.
            cls_preds (Tensor): (B, N, K) logits.
            points (Tensor): (B, N, 3+) float32, metres.
            batch_gt_instances_3d (list[InstanceData]): ``bboxes_3d`` and ``labels_3d`` of each frame.
            batch_input_metas (list | None): Not used.
            batch_gt_instances_ignore (list | None): Not used.

        Returns:
            dict[str, Tensor]: ``bbox_loss`` and ``semantic_loss``.
        """
        box_targets, labels, in_box, background, box_weights, _ = self.get_targets(points, batch_gt_instances_3d)
        labels = torch.where(background, self.num_classes, labels)
        counted = (background | in_box).float()  # not those in the rim around a box
        semantic_loss = self.cls_loss(
            cls_preds.reshape(-1, self.num_classes), labels.reshape(-1), counted.reshape(-1)
        ) / in_box.sum().clamp(min=1)
        return dict(
            bbox_loss=self.bbox_loss(bbox_preds, box_targets, box_weights.unsqueeze(-1)), semantic_loss=semantic_loss
        )

    def get_targets_single(
        self, points: Tensor, gt_bboxes_3d: BaseInstance3DBoxes, gt_labels_3d: Tensor
    ) -> tuple[Tensor, ...]:
        """Targets of one frame: mmdet3d's where there is a box, background where there is none.

        Args:
            points (Tensor): (N, 3+) float32, metres.
            gt_bboxes_3d (BaseInstance3DBoxes): G boxes.
            gt_labels_3d (Tensor): (G,) int64; -1 is no object.

        Returns:
            tuple[Tensor, ...]: Encoded box (N, 8), label (N,), in a box (N,), clear of boxes (N,), position (N, 3).
        """
        if (gt_labels_3d != -1).any():
            return super().get_targets_single(points, gt_bboxes_3d, gt_labels_3d)
        nowhere = points.new_zeros(len(points), dtype=torch.bool)
        targets = points.new_zeros(len(points), self.bbox_coder.code_size)
        return targets, nowhere.long(), nowhere, ~nowhere, points[:, :3]

    @torch.no_grad()
    def predict_by_feat(
        self, points: Tensor, bbox_preds: Tensor, cls_preds: Tensor, batch_input_metas: list[dict], cfg: dict
    ) -> list:
        """Proposals of each frame, as constants: the second stage trains on them, not the first stage through them.

        Args:
            points (Tensor): (B, N, 3+) float32, metres.
            bbox_preds (Tensor): (B, N, 8) encoded boxes.
            cls_preds (Tensor): (B, N, K) logits.
            batch_input_metas (list[dict]): ``box_type_3d`` of each frame.
            cfg (dict): ``nms_cfg``, see :meth:`class_agnostic_nms`.

        Returns:
            list[InstanceData]: ``bboxes_3d``, ``scores_3d``, ``labels_3d`` and ``cls_preds`` of each frame.
        """
        centres, log_sizes, headings = bbox_preds.split([3, 3, bbox_preds.shape[-1] - 6], -1)
        bounded = torch.cat([centres, log_sizes.clamp(-self.max_log_ratio, self.max_log_ratio), headings], -1)
        # Under autocast in float32: half boxes are centimetres off, half scores tie, and NMS wants one type of both.
        return super().predict_by_feat(points, bounded.float(), cls_preds.float(), batch_input_metas, cfg)

    def class_agnostic_nms(
        self, obj_scores: Tensor, sem_scores: Tensor, bbox: Tensor, points: Tensor, input_meta: dict, nms_cfg: dict
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The best of one frame's boxes, in the order of their scores.

        Args:
            obj_scores (Tensor): (N,) score of the best class.
            sem_scores (Tensor): (N, K) scores.
            bbox (Tensor): (N, 7) boxes around their centres.
            points (Tensor): Not used.
            input_meta (dict): ``box_type_3d``.
            nms_cfg (dict): ``use_rotate_nms``, ``iou_thr``, ``nms_pre``, ``nms_post`` and ``score_thr`` (or None).

        Returns:
            tuple[Tensor, Tensor, Tensor, Tensor]: Boxes on their bottoms (P, 7), scores (P,), labels (P,) and class
            scores (P, K), P up to ``nms_post``.
        """
        candidates = torch.arange(len(obj_scores), device=obj_scores.device)
        if nms_cfg.score_thr is not None:
            candidates = candidates[obj_scores >= nms_cfg.score_thr]
        best = obj_scores[candidates].topk(min(nms_cfg.nms_pre, len(candidates))).indices
        candidates = candidates[best]
        boxes = input_meta['box_type_3d'](bbox[candidates], box_dim=bbox.shape[-1], origin=(0.5, 0.5, 0.5))
        if len(candidates):
            nms = nms_bev if nms_cfg.use_rotate_nms else nms_normal_bev
            kept = nms(xywhr2xyxyr(boxes.bev), obj_scores[candidates], nms_cfg.iou_thr)[: nms_cfg.nms_post]
            boxes, candidates = boxes[kept], candidates[kept]
        classes = sem_scores[candidates]
        return boxes.tensor, obj_scores[candidates], classes.argmax(-1), classes

    def predict(self, feats_dict: dict, batch_data_samples: list) -> list:
        """Proposals of each frame; adds ``points_cls_preds`` to the features.

        Args:
            feats_dict (dict): From the detector's ``extract_feat``.
            batch_data_samples (list[Det3DDataSample]): One a frame.

        Returns:
            list[InstanceData]: ``bboxes_3d``, ``scores_3d``, ``labels_3d`` and ``cls_preds`` of each frame.
        """
        points = feats_dict['raw_points']
        proposals = super().predict(feats_dict, batch_data_samples)
        feats_dict['raw_points'] = points
        return proposals
