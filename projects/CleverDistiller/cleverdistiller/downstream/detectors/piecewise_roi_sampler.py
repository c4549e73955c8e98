import math
from collections.abc import Sequence

import torch
from mmdet.models.task_modules import AssignResult, SamplingResult
from mmdet3d.registry import TASK_UTILS
from torch import Tensor

from cleverdistiller.errors import InputError


@TASK_UTILS.register_module()
class PiecewiseRoISampler:
    """Proposals for PointRCNN's second stage: exactly ``num`` a frame, so that frames stack.

    Positives first, up to their share. The rest are negatives, a share from each piece of overlaps, hard ones first;
    what a piece lacks, the next one gives, then any. Where there are too few, some come twice. (mmdet3d's
    ``IoUNegPiecewiseSampler`` then repeats proposals of the wrong index, or returns too few.)

    Args:
        num (int): Proposals of a frame.
        pos_fraction (float): Largest share of positives.
        neg_piece_fractions (Sequence[float]): Share of the negatives from each piece.
        neg_iou_piece_thrs (Sequence[float]): Overlap below which each piece begins, falling; it ends where the next
            begins, the last one at 0.
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        neg_piece_fractions: Sequence[float],
        neg_iou_piece_thrs: Sequence[float],
    ) -> None:
        self.num = num
        self.pos_fraction = pos_fraction
        self.neg_piece_fractions = neg_piece_fractions
        self.neg_iou_piece_thrs = neg_iou_piece_thrs

    def sample(
        self, assign_result: AssignResult, bboxes: Tensor, gt_bboxes: Tensor, gt_labels: Tensor
    ) -> SamplingResult:
        """Choose among one frame's proposals.

        Args:
            assign_result (AssignResult): ``gt_inds`` (P,), 0 for a negative, else 1 + the row of its ground truth; and
                ``max_overlaps`` (P,).
            bboxes (Tensor): (P, 7) proposals.
            gt_bboxes (Tensor): (G, 7) ground truth.
            gt_labels (Tensor): Not used.

        Returns:
            SamplingResult: With the overlaps of the chosen, positives first, as ``iou`` (num,).

        Raises:
            InputError: If there is no proposal to choose.
        """
        positives = _choose((assign_result.gt_inds > 0).nonzero().view(-1), int(self.num * self.pos_fraction))
        negatives = self._negatives(assign_result, self.num - len(positives))
        if not len(positives) and not len(negatives):
            raise InputError(
                'a training frame without a proposal',
                f'some to fill the {self.num} of the second stage',
                'set model.train_cfg.rpn_proposal.nms_cfg.score_thr=None',
            )
        if len(negatives):
            negatives = _repeat_to(self.num - len(positives), negatives)
        else:
            positives = _repeat_to(self.num, positives)
        is_gt = bboxes.new_zeros(len(bboxes), dtype=torch.bool)
        result = SamplingResult(positives, negatives, bboxes, gt_bboxes, assign_result, is_gt)
        result.pos_gt_bboxes = gt_bboxes[result.pos_assigned_gt_inds]  # mmdet makes (0, 4) of a frame without boxes
        result.iou = assign_result.max_overlaps[torch.cat([positives, negatives])].detach()
        return result

    def _negatives(self, assign_result: AssignResult, count: int) -> Tensor:
        """Up to ``count`` rows, each once."""
        negatives = (assign_result.gt_inds == 0).nonzero().view(-1)
        overlaps = assign_result.max_overlaps[negatives]
        chosen = [negatives[:0]]
        due = 0.0  # by the shares of this piece and those before
        for fraction, below, above in zip(
            self.neg_piece_fractions, self.neg_iou_piece_thrs, [*self.neg_iou_piece_thrs[1:], 0]
        ):
            due += fraction
            lacking = min(math.ceil(count * due), count) - sum(map(len, chosen))
            chosen.append(_choose(negatives[(overlaps >= above) & (overlaps < below)], lacking))
        rows = torch.cat(chosen)
        unused = negatives[~torch.isin(negatives, rows)]
        return torch.cat([rows, _choose(unused, count - len(rows))])


def _choose(rows: Tensor, count: int) -> Tensor:
    """Up to ``count`` of the rows, at random."""
    return rows[torch.randperm(len(rows), device=rows.device)[:count]]


def _repeat_to(count: int, rows: Tensor) -> Tensor:
    """``count`` rows: all, then some again at random."""
    again = torch.randint(len(rows), (count - len(rows),), device=rows.device)
    return torch.cat([rows, rows[again]])
